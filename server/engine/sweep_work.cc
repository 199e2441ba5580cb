#include "server/engine/sweep_work.h"

#include <limits>

#include "absl/time/clock.h"
#include "server/spec/metric_fields.h"

namespace scalpel::engine {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(300);
constexpr int32_t kClean = -1;

// Collects what the plan of one variant, or of the clean runs, has to say while it runs.
class Collector final : public EventSink {
 public:
  explicit Collector(int32_t variant, bool reports) : variant_(variant), reports_(reports) {}

  void Push(Event event) override {
    if (event.message.has_layer_statistics()) {
      for (v1::ProbeResult& result : *event.message.mutable_layer_statistics()->mutable_results())
        *result_.add_statistics() = std::move(result);
    } else if (event.message.has_intervention_report() && reports_) {
      *result_.add_reports() = std::move(*event.message.mutable_intervention_report());
    }
  }

  int32_t variant() const { return variant_; }
  v1::VariantResult& result() { return result_; }

 private:
  const int32_t variant_;  // or kClean
  const bool reports_;
  v1::VariantResult result_;
};

std::vector<at::Tensor> OnHost(const std::vector<at::Tensor>& logits) {
  std::vector<at::Tensor> host;
  for (const at::Tensor& tensor : logits)
    host.push_back(tensor.defined() ? tensor.to(at::kCPU, at::kFloat) : tensor);
  return host;
}

// An empty matrix for each metric of one number and each prompt.
std::vector<v1::SweepMatrix> Matrices(const spec::Sweep& sweep) {
  std::vector<v1::SweepMatrix> matrices;
  for (int i = 0; i < sweep.request().metrics_size(); ++i) {
    if (spec::NumberCount(sweep.request().metrics(i)) != 1) continue;
    for (int32_t prompt = 0; prompt < sweep.edited_prompts(); ++prompt) {
      v1::SweepMatrix& matrix = matrices.emplace_back();
      matrix.set_metric(i);
      matrix.set_name(sweep.request().metrics(i).name());
      matrix.set_prompt(prompt);
      for (const v1::AxisInfo& axis : sweep.started().axes()) matrix.add_shape(axis.labels_size());
      if (sweep.started().axes().empty()) matrix.add_shape(sweep.variants());
      matrix.mutable_values()->Resize(sweep.variants(), std::numeric_limits<double>::quiet_NaN());
    }
  }
  return matrices;
}

}  // namespace

SweepWork::SweepWork(std::string request_id, std::shared_ptr<const spec::Sweep> sweep,
                     std::shared_ptr<EventStream> stream, absl::Time deadline)
    : request_id_(std::move(request_id)),
      sweep_(std::move(sweep)),
      stream_(std::move(stream)),
      deadline_(deadline),
      submitted_(absl::Now()),
      matrices_(Matrices(*sweep_)) {}

absl::Status SweepWork::StillWanted() const {
  if (stream_->cancelled()) return absl::CancelledError("the caller cancelled the call");
  if (absl::Now() >= deadline_)
    return absl::DeadlineExceededError("the call's deadline has passed");
  return absl::OkStatus();
}

std::unique_ptr<Task> SweepWork::Next() {
  auto task = std::make_unique<Task>();
  if (!clean_given_out_) {
    clean_given_out_ = true;
    task->plan = sweep_->base();
    task->sink = std::make_shared<Collector>(kClean, /*reports=*/false);
    task->clean.resize(task->plan->rows.size());
    return task;
  }
  if (!metrics_ || next_ == sweep_->variants()) return nullptr;
  task->plan = sweep_->VariantPlan(next_);
  task->sink = std::make_shared<Collector>(next_, sweep_->request().reports());
  for (const spec::PlanRow& row : task->plan->rows) task->clean.push_back(clean_[row.prompt]);
  ++next_;
  return task;
}

void SweepWork::Done(const Task& task, TaskResult result) {
  Collector& collector = static_cast<Collector&>(*task.sink);
  tokens_computed_ += result.tokens_computed;
  if (collector.variant() == kClean) return CleanDone(task, result);
  v1::VariantResult& variant = collector.result();
  variant.set_index(collector.variant());
  *variant.mutable_metrics() = metrics_->Measure(OnHost(result.logits));
  VariantDone(&variant);
}

void SweepWork::CleanDone(const Task& task, const TaskResult& result) {
  began_ = result.began;
  clean_ = task.clean;
  metrics_.emplace(sweep_, OnHost(result.logits));
  v1::SweepResponse event;
  *event.mutable_clean()->mutable_metrics() = metrics_->clean();
  *event.mutable_clean()->mutable_statistics() =
      std::move(*static_cast<Collector&>(*task.sink).result().mutable_statistics());
  Push(std::move(event));
}

void SweepWork::VariantDone(v1::VariantResult* variant) {
  const int32_t index = variant->index();
  variant->set_name(sweep_->VariantName(index));
  for (const int32_t at : sweep_->Coordinates(index)) variant->add_coordinates(at);
  size_t matrix = 0;  // they are in the order of the metrics
  for (const v1::MetricResult& metric : variant->metrics()) {
    if (matrix < matrices_.size() && matrices_[matrix].metric() == metric.index())
      matrices_[matrix++].set_values(index, metric.values(0));
  }
  v1::SweepResponse event;
  *event.mutable_variant() = std::move(*variant);
  Push(std::move(event));
  ++done_;
  if (Finished()) return Finish();
  if (absl::Now() < progress_shown_ + kProgressInterval) return;
  progress_shown_ = absl::Now();
  v1::SweepResponse progress;
  progress.mutable_progress()->set_done(done_);
  progress.mutable_progress()->set_total(sweep_->variants());
  Push(std::move(progress));
}

void SweepWork::Finish() {
  for (v1::SweepMatrix& matrix : matrices_) {
    v1::SweepResponse event;
    *event.mutable_matrix() = std::move(matrix);
    Push(std::move(event));
  }
  v1::SweepResponse event;
  v1::SweepFinished* finished = event.mutable_finished();
  finished->set_queue_us(absl::ToInt64Microseconds(began_ - submitted_));
  finished->set_compute_us(absl::ToInt64Microseconds(absl::Now() - began_));
  finished->set_tokens_computed(tokens_computed_);
  finished->set_variants(done_);
  Push(std::move(event));
}

void SweepWork::Push(v1::SweepResponse event) {
  Event out;
  out.sweep = std::move(event);
  stream_->Push(std::move(out));
}

void SweepWork::Close(const absl::Status& status) { stream_->Close(status); }

}  // namespace scalpel::engine
