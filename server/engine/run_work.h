// A Run as work for the engine: one task, whose events are the call's.

#ifndef SCALPEL_SERVER_ENGINE_RUN_WORK_H_
#define SCALPEL_SERVER_ENGINE_RUN_WORK_H_

#include <memory>
#include <string>
#include <utility>

#include "server/engine/job.h"
#include "server/engine/work.h"

namespace scalpel::engine {

class RunWork final : public Work {
 public:
  explicit RunWork(Job job) : job_(std::move(job)) {}

  const std::string& request_id() const override { return job_.request_id; }
  absl::Status StillWanted() const override;
  std::unique_ptr<Task> Next() override;
  bool Finished() const override { return done_; }
  // Sends logits, reports and `finished`.
  void Done(const Task& task, TaskResult result) override;
  void Close(const absl::Status& status) override { job_.stream->Close(status); }
  void Abort(const absl::Status& status) override;

 private:
  const Job job_;
  bool given_ = false, done_ = false;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_RUN_WORK_H_
