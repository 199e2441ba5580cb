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
  explicit Collector(int32_t variant) : variant_(variant) {}

  void Push(Event event) override {
    for (v1::ProbeResult& result : *event.message.mutable_layer_statistics()->mutable_results())
      *result_.add_statistics() = std::move(result);
  }

  int32_t variant() const { return variant_; }
  v1::VariantResult& result() { return result_; }

 private:
  const int32_t variant_;  // or kClean
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

SweepWork::SweepWork(Job job) : job_(std::move(job)), matrices_(Matrices(sweep())) {}

absl::Status SweepWork::StillWanted() const {
  return engine::StillWanted(*job_.stream, job_.deadline);
}

std::unique_ptr<Task> SweepWork::Next() {
  auto task = std::make_unique<Task>();
  if (!clean_given_out_) {
    clean_given_out_ = true;
    task->plan = sweep().base();
    task->sink = std::make_shared<Collector>(kClean);
    task->keeps_clean = true;
    return task;
  }
  if (!metrics_ || next_ == sweep().variants()) return nullptr;
  task->plan = sweep().VariantPlan(next_);
  task->sink = std::make_shared<Collector>(next_);
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
  if (sweep().request().reports())
    variant.mutable_reports()->Assign(result.reports.begin(), result.reports.end());
  if (result.non_finite_row) {
    ++non_finite_;
    if (!first_non_finite_ || variant.index() < first_non_finite_->first)
      first_non_finite_ = {variant.index(), *result.non_finite_row};
  }
  VariantDone(result, &variant);
}

void SweepWork::CleanDone(const Task& task, const TaskResult& result) {
  began_ = result.began;
  clean_ = task.clean;
  metrics_.emplace(job_.sweep, OnHost(result.logits));
  v1::SweepResponse event;
  *event.mutable_clean()->mutable_metrics() = metrics_->clean();
  *event.mutable_clean()->mutable_statistics() =
      std::move(*static_cast<Collector&>(*task.sink).result().mutable_statistics());
  Push(std::move(event));
}

void SweepWork::VariantDone(const TaskResult& result, v1::VariantResult* variant) {
  const int32_t index = variant->index();
  variant->set_name(sweep().VariantName(index));
  for (const int32_t at : sweep().Coordinates(index)) variant->add_coordinates(at);
  size_t matrix = 0;  // they are in the order of the metrics
  for (const v1::MetricResult& metric : variant->metrics()) {
    if (matrix < matrices_.size() && matrices_[matrix].metric() == metric.index())
      matrices_[matrix++].set_values(index, metric.values(0));
  }
  v1::SweepResponse event;
  *event.mutable_variant() = std::move(*variant);
  Push(std::move(event));
  ++done_;
  if (Finished()) return Finish(result);
  if (absl::Now() < progress_shown_ + kProgressInterval) return;
  progress_shown_ = absl::Now();
  v1::SweepResponse progress;
  progress.mutable_progress()->set_done(done_);
  progress.mutable_progress()->set_total(sweep().variants());
  Push(std::move(progress));
}

void SweepWork::Finish(const TaskResult& last) {
  for (v1::SweepMatrix& matrix : matrices_) {
    v1::SweepResponse event;
    *event.mutable_matrix() = std::move(matrix);
    Push(std::move(event));
  }
  v1::SweepResponse event;
  v1::SweepFinished* finished = event.mutable_finished();
  finished->set_non_finite_variants(non_finite_);
  if (first_non_finite_) {
    const auto [variant, row] = *first_non_finite_;
    finished->set_first_non_finite_variant(variant);
    if (const auto first = last.locate(*sweep().VariantPlan(variant), row))
      *finished->mutable_first_non_finite() = *first;
  }
  finished->set_queue_us(absl::ToInt64Microseconds(began_ - job_.submitted));
  finished->set_compute_us(absl::ToInt64Microseconds(absl::Now() - began_));
  finished->set_tokens_computed(tokens_computed_);
  finished->set_variants(done_);
  Push(std::move(event));
}

void SweepWork::Push(v1::SweepResponse event) {
  Event out;
  out.sweep = std::move(event);
  job_.stream->Push(std::move(out));
}

void SweepWork::Abort(const absl::Status& status) {
  job_.stream->Close(status);
  job_.stream->Cancel();
}

}  // namespace scalpel::engine
