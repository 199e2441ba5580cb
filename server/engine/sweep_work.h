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
#include "server/engine/event_stream.h"
#include "server/engine/work.h"
#include "server/spec/sweep.h"
#include "server/spec/sweep_metrics.h"

namespace scalpel::engine {

class SweepWork final : public Work {
 public:
  // `stream` gets every event but `started`.
  SweepWork(std::string request_id, std::shared_ptr<const spec::Sweep> sweep,
            std::shared_ptr<EventStream> stream, absl::Time deadline);

  const std::string& request_id() const override { return request_id_; }
  absl::Status StillWanted() const override;
  std::unique_ptr<Task> Next() override;
  bool Finished() const override { return done_ == sweep_->variants(); }
  void Done(const Task& task, TaskResult result) override;
  void Close(const absl::Status& status) override;

 private:
  void CleanDone(const Task& task, const TaskResult& result);
  void VariantDone(v1::VariantResult* variant);
  void Finish();
  void Push(v1::SweepResponse event);

  const std::string request_id_;
  const std::shared_ptr<const spec::Sweep> sweep_;
  const std::shared_ptr<EventStream> stream_;
  const absl::Time deadline_;
  const absl::Time submitted_;

  bool clean_given_out_ = false;
  // From the end of the clean runs on. The states are by prompt, and held until the end, so that
  // no variant computes them again.
  std::optional<spec::SweepMetrics> metrics_;
  std::vector<std::shared_ptr<const model::CleanState>> clean_;

  int32_t next_ = 0;  // variant to be given out
  int32_t done_ = 0;  // variants
  absl::Time began_, progress_shown_;
  int64_t tokens_computed_ = 0;
  std::vector<v1::SweepMatrix> matrices_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_SWEEP_WORK_H_
