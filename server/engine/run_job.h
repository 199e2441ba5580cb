// A Run: one task, whose events are the call's.

#ifndef SCALPEL_SERVER_ENGINE_RUN_JOB_H_
#define SCALPEL_SERVER_ENGINE_RUN_JOB_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "server/engine/job.h"

namespace scalpel::engine {

class RunJob final : public Job {
 public:
  RunJob(std::shared_ptr<EventStream> stream, std::shared_ptr<const spec::Plan> plan);

  int64_t response_bytes() const override { return plan_->started.cost().response_bytes(); }
  std::optional<Task> NextTask() override;
  bool AllDone() const override { return done_; }
  // Sends `finished`.
  void Finish(Locator locate) override;

 private:
  // Sends logits and reports.
  void TaskDone(TaskResult result);

  const std::shared_ptr<const spec::Plan> plan_;
  const std::shared_ptr<TaskSink> sink_;
  bool given_out_ = false, done_ = false;
  // Of TaskDone: what is left to say.
  absl::Time began_;
  v1::Finished finished_;
  std::optional<int32_t> non_finite_row_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_RUN_JOB_H_
