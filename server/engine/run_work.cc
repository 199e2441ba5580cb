#include "server/engine/run_work.h"

#include <utility>

#include "absl/time/clock.h"
#include "server/engine/logits.h"

namespace scalpel::engine {

absl::Status StillWanted(const EventStream& stream, absl::Time deadline) {
  if (stream.cancelled()) return absl::CancelledError("the caller cancelled the call");
  if (absl::Now() >= deadline) return absl::DeadlineExceededError("the call's deadline has passed");
  return absl::OkStatus();
}

absl::Status RunWork::StillWanted() const {
  return engine::StillWanted(*job_.stream, job_.deadline);
}

std::unique_ptr<Task> RunWork::Next() {
  if (given_) return nullptr;
  given_ = true;
  return std::make_unique<Task>(Task{.plan = job_.plan, .sink = job_.stream, .clean = {}});
}

void RunWork::Done(const Task& task, TaskResult result) {
  SendLogits(*task.plan, result.logits, *job_.stream, *result.sender);
  for (v1::InterventionReport& report : result.reports) {
    Event event;
    *event.message.mutable_intervention_report() = std::move(report);
    job_.stream->Push(std::move(event));
  }
  Event event;
  v1::Finished* finished = event.message.mutable_finished();
  if (result.non_finite_row) {
    if (const auto first = result.locate(*task.plan, *result.non_finite_row))
      *finished->mutable_first_non_finite() = *first;
  }
  finished->set_queue_us(absl::ToInt64Microseconds(result.began - job_.submitted));
  finished->set_compute_us(absl::ToInt64Microseconds(absl::Now() - result.began));
  finished->set_tokens_computed(result.tokens_computed);
  finished->set_tensor_bytes(result.sender->bytes_sent());
  job_.stream->Push(std::move(event));
  done_ = true;
}

void RunWork::Abort(const absl::Status& status) {
  job_.stream->Close(status);
  job_.stream->Cancel();
}

}  // namespace scalpel::engine
