// A run's events as text, as they come.

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
#include "proto/scalpel/v1/service.pb.h"

namespace scalpel::client {

// Prints each event when it comes; logits, reports and sparklines when the run is finished. Not
// thread-safe.
class RunView {
 public:
  explicit RunView(const Screen& screen) : screen_(screen), begun_(absl::Now()) {}

  // Tensor chunks are left to AddTensor; what this client does not know is skipped.
  void Add(const v1::RunResponse& response);

  // A whole tensor; `path`: the file that it was saved to, or empty.
  void AddTensor(const v1::TensorHeader& header, const std::string& path);

 private:
  void Begin(const v1::Started& started);
  void End(const v1::Finished& finished);
  void PrintReports();

  const Screen screen_;
  const absl::Time begun_;
  std::optional<StatisticsView> statistics_;  // from `started` on
  std::optional<LogitsView> logits_;
  std::vector<v1::InterventionReport> reports_;
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_RUN_VIEW_H_
