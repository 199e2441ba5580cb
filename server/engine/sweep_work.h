// A sweep as work for the engine: its clean runs first, then one task for each variant.

#ifndef SCALPEL_SERVER_ENGINE_SWEEP_WORK_H_
#define SCALPEL_SERVER_ENGINE_SWEEP_WORK_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/job.h"
#include "server/engine/work.h"
#include "server/spec/sweep_metrics.h"

namespace scalpel::engine {

class SweepWork final : public Work {
 public:
  // job.stream gets every event but `started`.
  explicit SweepWork(Job job);

  const std::string& request_id() const override { return job_.request_id; }
  absl::Status StillWanted() const override;
  std::unique_ptr<Task> Next() override;
  bool Finished() const override { return done_ == sweep().variants(); }
  void Done(const Task& task, TaskResult result) override;
  void Close(const absl::Status& status) override { job_.stream->Close(status); }
  void Abort(const absl::Status& status) override;

 private:
  const spec::Sweep& sweep() const { return *job_.sweep; }
  void CleanDone(const Task& task, const TaskResult& result);
  void VariantDone(const TaskResult& result, v1::VariantResult* variant);
  void Finish(const TaskResult& last);
  void Push(v1::SweepResponse event);

  const Job job_;

  bool clean_given_out_ = false;
  // From the end of the clean runs on. The states are by prompt, and held until the end, so that
  // no variant computes them again.
  std::optional<spec::SweepMetrics> metrics_;
  std::vector<std::shared_ptr<const model::CleanState>> clean_;

  int32_t next_ = 0;  // variant to be given out
  int32_t done_ = 0;  // variants
  absl::Time began_, progress_shown_;
  int64_t tokens_computed_ = 0;
  // Variants with an infinity or NaN so far, the first of them by index, and its row that has it.
  int32_t non_finite_ = 0;
  std::optional<std::pair<int32_t, int32_t>> first_non_finite_;
  std::vector<v1::SweepMatrix> matrices_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_SWEEP_WORK_H_
