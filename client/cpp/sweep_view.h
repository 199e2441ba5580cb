// Prints the events of a sweep as text.

#ifndef SCALPEL_CLIENT_CPP_SWEEP_VIEW_H_
#define SCALPEL_CLIENT_CPP_SWEEP_VIEW_H_

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/cpp/heat_map.h"
#include "client/cpp/screen.h"
#include "client/cpp/sweep_matrix.h"
#include "proto/scalpel/v1/sweep.pb.h"

namespace scalpel::client {

// Shows progress while the sweep runs, and prints each metric as a list or heat map at its end. Not
// thread-safe.
class SweepView {
 public:
  // `progress`: a terminal for the progress line; may be null.
  SweepView(const Screen& screen, std::ostream* progress);
  // Clears the progress line.
  ~SweepView();

  void Add(const v1::SweepResponse& response);

 private:
  void Begin(const v1::SweepStarted& started);
  void ShowProgress(const v1::SweepProgress& progress);
  void ClearProgress();
  void End(const v1::SweepFinished& finished);

  // A matrix in the form that suits its axes: a list with bars, or heat maps.
  void PrintMatrix(const SweepMatrix& matrix);
  void PrintTitle(const SweepMatrix& matrix);
  void PrintList(const SweepMatrix& matrix);
  void PrintMaps(const SweepMatrix& matrix);
  void PrintFurthest(const SweepMatrix& matrix);
  void PrintTopTokens();
  void PrintStatistics();
  void PrintReports();

  // The clean run's value of a metric; null: it has none.
  const v1::MetricResult* CleanOf(const SweepMatrix& matrix) const;
  // What tells the variant from the others: its name, or its place in the grid.
  std::string LabelOf(int32_t variant) const;
  bool several_prompts() const { return started_.normalized().prompts_size() > 1; }

  const Screen screen_;
  std::ostream* const progress_;
  bool progress_shown_ = false;
  const absl::Time begun_;
  v1::SweepStarted started_;
  v1::SweepClean clean_;
  std::map<int32_t, v1::VariantResult> variants_;
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SWEEP_VIEW_H_
