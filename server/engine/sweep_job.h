// A Sweep: its clean runs are the first task, and each variant is another.

#ifndef SCALPEL_SERVER_ENGINE_SWEEP_JOB_H_
#define SCALPEL_SERVER_ENGINE_SWEEP_JOB_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/job.h"
#include "server/spec/sweep.h"
#include "server/spec/sweep_metrics.h"

namespace scalpel::engine {

class SweepJob final : public Job {
 public:
  SweepJob(std::shared_ptr<EventStream> stream, std::shared_ptr<const spec::Sweep> sweep);

  int64_t response_bytes() const override { return sweep_->started().cost().response_bytes(); }
  // Compiles a variant when its turn comes: all plans at once would be large.
  std::optional<Task> NextTask() override;
  bool AllDone() const override { return done_ == sweep_->variants(); }
  // Sends `finished`.
  void Finish(Locator locate) override;

 private:
  class Statistics;

  Task CleanTask();
  Task VariantTask(int32_t index);
  void CleanDone(const TaskResult& result, v1::VariantResult statistics);
  void VariantDone(int32_t index, const TaskResult& result, v1::VariantResult variant);
  void Push(v1::SweepResponse event);

  const std::shared_ptr<const spec::Sweep> sweep_;

  bool clean_given_out_ = false;
  // From the end of the clean runs on. The states are by prompt, and held until the end, so that
  // no variant computes them again.
  std::optional<spec::SweepMetrics> metrics_;
  std::vector<std::shared_ptr<const model::CleanState>> clean_;

  int32_t next_ = 0;            // variant to be given out
  int32_t done_ = 0;            // variants
  std::vector<bool> reported_;  // by variant: it has been sent
  absl::Time began_, progress_shown_;
  int64_t tokens_computed_ = 0;
  // Variants with an infinity or NaN so far, the first of them by index, and its row that has it.
  int32_t non_finite_ = 0;
  std::optional<std::pair<int32_t, int32_t>> first_non_finite_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_SWEEP_JOB_H_
