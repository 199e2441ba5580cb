// Prints the events of a run as text.

#ifndef SCALPEL_CLIENT_CPP_RUN_VIEW_H_
#define SCALPEL_CLIENT_CPP_RUN_VIEW_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/cpp/logits_view.h"
#include "client/cpp/screen.h"
#include "client/cpp/statistics_view.h"
#include "client/cpp/tensors.h"
#include "proto/scalpel/v1/intervention.pb.h"
#include "proto/scalpel/v1/run.pb.h"
#include "proto/scalpel/v1/tensor.pb.h"

namespace scalpel::client {

// Prints each event as it arrives; logits, reports and sparklines are printed when the run has
// finished. Not thread-safe.
class RunView {
 public:
  explicit RunView(const Screen& screen) : screen_(screen), begun_(absl::Now()) {}

  // Prints or collects an event. Skips tensor chunks, for which AddTensor is called, and events
  // that this client does not know.
  void Add(const v1::RunResponse& response);

  // Prints a line for a complete tensor. `path`: the file that it was saved to; may be empty.
  void AddTensor(const v1::TensorHeader& header, const std::string& path);

 private:
  void Begin(const v1::Started& started);
  void End(const v1::Finished& finished);

  const Screen screen_;
  const absl::Time begun_;
  std::optional<StatisticsView> statistics_;  // set by the event `started`
  std::optional<LogitsView> logits_;
  std::vector<v1::InterventionReport> reports_;
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_RUN_VIEW_H_
