#include "server/engine/run_job.h"

#include <utility>

#include "server/engine/fault_points.h"
#include "server/engine/logits.h"

namespace scalpel::engine {
namespace {

// Streams a task's events while it runs, each of them once: when the task runs again, those that
// the caller has been sent before are dropped.
class StreamOnce final : public TaskSink {
 public:
  explicit StreamOnce(EventStream& stream) : stream_(stream) {}

  void Restart() override { pushed_ = 0; }
  void Push(Event event) override {
    if (pushed_ == sent_) {
      stream_.Push(std::move(event));
      ++sent_;
    }
    ++pushed_;
  }

 private:
  EventStream& stream_;
  int64_t pushed_ = 0;  // since the task began to run
  int64_t sent_ = 0;    // in all its runs
};

}  // namespace

RunJob::RunJob(std::shared_ptr<EventStream> call, std::shared_ptr<const spec::Plan> plan)
    : Job(std::move(call)), plan_(std::move(plan)), sink_(std::make_shared<StreamOnce>(stream())) {}

std::optional<Task> RunJob::NextTask() {
  if (given_out_) return std::nullopt;
  given_out_ = true;
  return Task{
      .job = shared_from_this(), .plan = plan_, .sink = sink_, .done = [this](TaskResult result) {
        TaskDone(std::move(result));
      }};
}

void RunJob::TaskDone(TaskResult result) {
  if (!SendLogits(*plan_, result.logits, *sink_, *result.sender, result.goes_on)) return;
  for (v1::InterventionReport& report : result.reports) {
    Event event;
    *event.message.mutable_intervention_report() = std::move(report);
    sink_->Push(std::move(event));
  }
  PassFaultPoint(FaultPoint::kDone, stream().request_id());
  began_ = result.began;
  non_finite_row_ = result.non_finite_row;
  finished_.set_tokens_computed(result.tokens_computed);
  finished_.set_tensor_bytes(result.sender->bytes_sent());
  done_ = true;
}

void RunJob::Finish(Locator locate) {
  if (non_finite_row_) {
    if (const auto first = locate(*plan_, *non_finite_row_))
      *finished_.mutable_first_non_finite() = *first;
  }
  FillTimes(began_, &finished_);
  Event event;
  *event.message.mutable_finished() = std::move(finished_);
  stream().Push(std::move(event));
}

}  // namespace scalpel::engine
