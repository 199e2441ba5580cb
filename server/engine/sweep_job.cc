#include "server/engine/sweep_job.h"

#include "absl/time/clock.h"
#include "server/engine/fault_points.h"
#include "server/spec/metric_fields.h"

namespace scalpel::engine {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(300);

std::vector<at::Tensor> OnHost(const std::vector<at::Tensor>& logits) {
  std::vector<at::Tensor> host;
  for (const at::Tensor& tensor : logits)
    host.push_back(tensor.defined() ? tensor.to(at::kCPU, at::kFloat) : tensor);
  return host;
}

}  // namespace

// Gathers the statistics of one task, which leave together with its other results.
class SweepJob::Statistics final : public TaskSink {
 public:
  void Restart() override { result_.Clear(); }
  void Push(Event event) override {
    for (v1::ProbeResult& result : *event.message.mutable_layer_statistics()->mutable_results())
      *result_.add_statistics() = std::move(result);
  }
  v1::VariantResult Take() { return std::move(result_); }

 private:
  v1::VariantResult result_;
};

SweepJob::SweepJob(std::shared_ptr<EventStream> call, std::shared_ptr<const spec::Sweep> sweep)
    : Job(std::move(call)), sweep_(std::move(sweep)), reported_(sweep_->variants()) {}

std::optional<Task> SweepJob::NextTask() {
  if (!clean_given_out_) {
    clean_given_out_ = true;
    return CleanTask();
  }
  if (!metrics_ || next_ == sweep_->variants()) return std::nullopt;
  return VariantTask(next_++);
}

Task SweepJob::CleanTask() {
  const auto statistics = std::make_shared<Statistics>();
  return {.job = shared_from_this(),
          .plan = sweep_->base(),
          .sink = statistics,
          .done = [this,
                   statistics](const TaskResult& result) { CleanDone(result, statistics->Take()); },
          .keeps_clean = true};
}

Task SweepJob::VariantTask(int32_t index) {
  const auto statistics = std::make_shared<Statistics>();
  Task task{.job = shared_from_this(),
            .plan = sweep_->VariantPlan(index),
            .sink = statistics,
            .done = [this, index, statistics](const TaskResult& result) {
              VariantDone(index, result, statistics->Take());
            }};
  for (const spec::PlanRow& row : task.plan->rows) task.clean.push_back(clean_[row.prompt]);
  return task;
}

void SweepJob::CleanDone(const TaskResult& result, v1::VariantResult statistics) {
  spec::SweepMetrics metrics(sweep_, OnHost(result.logits));
  v1::SweepResponse event;
  *event.mutable_clean()->mutable_metrics() = metrics.clean();
  *event.mutable_clean()->mutable_statistics() = std::move(*statistics.mutable_statistics());
  clean_ = result.clean;
  began_ = result.began;
  Push(std::move(event));
  tokens_computed_ += result.tokens_computed;
  metrics_.emplace(std::move(metrics));
}

void SweepJob::VariantDone(int32_t index, const TaskResult& result, v1::VariantResult variant) {
  if (reported_[index]) return;  // before its wave failed
  variant.set_index(index);
  variant.set_name(sweep_->VariantName(index));
  for (const int32_t at : sweep_->Coordinates(index)) variant.add_coordinates(at);
  *variant.mutable_metrics() = metrics_->Measure(OnHost(result.logits));
  if (sweep_->reports())
    variant.mutable_reports()->Assign(result.reports.begin(), result.reports.end());
  PassFaultPoint(FaultPoint::kDone, stream().request_id());
  v1::SweepResponse event;
  *event.mutable_variant() = std::move(variant);
  Push(std::move(event));
  reported_[index] = true;
  ++done_;
  tokens_computed_ += result.tokens_computed;
  if (result.non_finite_row) {
    ++non_finite_;
    if (!first_non_finite_ || index < first_non_finite_->first)
      first_non_finite_ = {index, *result.non_finite_row};
  }
  if (AllDone() || absl::Now() < progress_shown_ + kProgressInterval) return;
  progress_shown_ = absl::Now();
  v1::SweepResponse progress;
  progress.mutable_progress()->set_done(done_);
  progress.mutable_progress()->set_total(sweep_->variants());
  Push(std::move(progress));
}

void SweepJob::Finish(Locator locate) {
  v1::SweepResponse event;
  v1::SweepFinished* finished = event.mutable_finished();
  finished->set_non_finite_variants(non_finite_);
  if (first_non_finite_) {
    const auto [variant, row] = *first_non_finite_;
    finished->set_first_non_finite_variant(variant);
    if (const auto first = locate(*sweep_->VariantPlan(variant), row))
      *finished->mutable_first_non_finite() = *first;
  }
  FillTimes(began_, finished);
  finished->set_tokens_computed(tokens_computed_);
  finished->set_variants(done_);
  Push(std::move(event));
}

void SweepJob::Push(v1::SweepResponse event) {
  Event out;
  out.sweep = std::move(event);
  stream().Push(std::move(out));
}

}  // namespace scalpel::engine
