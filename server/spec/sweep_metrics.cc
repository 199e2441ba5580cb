#include "server/spec/sweep_metrics.h"

#include <algorithm>
#include <limits>

#include "server/kernels/math64.h"
#include "server/kernels/nan.h"
#include "server/spec/metric_fields.h"
#include "server/spec/metrics.h"

namespace scalpel::spec {
namespace {

using v1::Metric;

// Returns whether the metric compares a variant with the clean run. The clean run itself has no
// value of it.
bool ComparesWithClean(const Metric& metric) {
  return metric.has_kl_from_clean() || metric.has_top1_agreement() || metric.has_patching_score();
}

// Returns whether the metric has a value for the sources too, on which no variant runs. A logit
// difference has one only if its tokens do not depend on the prompt.
bool MeasuresSources(const Metric& metric, int32_t prompts) {
  if (ComparesWithClean(metric)) return false;
  return prompts == 1 || !metric.has_logit_diff() ||
         (metric.logit_diff().targets_size() == 1 && metric.logit_diff().distractors_size() == 1);
}

// Returns 1 if the tokens are equal, 0 if not, and NaN if either is kNoToken.
double Agreement(int32_t top, int32_t clean_top) {
  if (top == kNoToken || clean_top == kNoToken) return std::numeric_limits<double>::quiet_NaN();
  return top == clean_top ? 1 : 0;
}

absl::Span<const double> Numbers(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<double>(), static_cast<size_t>(tensor.numel())};
}

void UseOneNan(MetricResults& results) {
  for (v1::MetricResult& result : results) {
    for (double& value : *result.mutable_values()) value = kernels::OneNan(value);
  }
}

}  // namespace

// The logits of one row of a plan, and the log-probabilities, which are computed once for all
// metrics.
class SweepMetrics::RowLogits {
 public:
  RowLogits(absl::Span<const int64_t> positions, const at::Tensor& logits)
      : positions_(positions), logits_(logits.defined() ? logits.contiguous() : logits) {}

  absl::Span<const float> At(int64_t position) const {
    const auto vocab = static_cast<size_t>(logits_.size(1));
    return {logits_.const_data_ptr<float>() + Index(position) * vocab, vocab};
  }

  const at::Tensor& LogProbsAt(int64_t position) {
    at::Tensor& made = log_probs_[position];
    if (!made.defined()) made = LogProbs(logits_.select(0, static_cast<int64_t>(Index(position))));
    return made;
  }

  // Returns the mean loss of all tokens of the row but the first.
  double Loss(absl::Span<const int32_t> tokens) const {
    // positions_ has all positions of the prompt but perhaps the last, so the row number is the
    // position.
    const auto predicted = static_cast<int64_t>(tokens.size()) - 1;
    return MeanLoss(logits_.narrow(0, 0, predicted), tokens.subspan(1));
  }

 private:
  size_t Index(int64_t position) const {
    return std::lower_bound(positions_.begin(), positions_.end(), position) - positions_.begin();
  }

  const absl::Span<const int64_t> positions_;
  const at::Tensor logits_;
  std::map<int64_t, at::Tensor> log_probs_;
};

SweepMetrics::SweepMetrics(std::shared_ptr<const Sweep> sweep, const std::vector<at::Tensor>& clean)
    : sweep_(std::move(sweep)) {
  std::vector<RowLogits> rows;
  for (size_t row = 0; row < clean.size(); ++row)
    rows.emplace_back(sweep_->base()->logit_positions[row], clean[row]);
  for (int i = 0; i < sweep_->request().metrics_size(); ++i) MeasureClean(i, rows);
  UseOneNan(clean_);
}

v1::MetricResult* SweepMetrics::Add(size_t metric, int32_t prompt, MetricResults* results) const {
  v1::MetricResult* result = results->Add();
  result->set_index(static_cast<int32_t>(metric));
  result->set_name(sweep_->request().metrics(static_cast<int>(metric)).name());
  result->set_prompt(prompt);
  return result;
}

void SweepMetrics::MeasureClean(size_t index, std::vector<RowLogits>& rows) {
  const Metric& metric = sweep_->request().metrics(static_cast<int>(index));
  const int32_t prompts = sweep_->edited_prompts();
  const auto all = static_cast<int32_t>(rows.size());
  const auto position = [&](int32_t prompt) { return sweep_->MetricPosition(index, prompt); };
  for (int32_t i = 0; i < (MeasuresSources(metric, prompts) ? all : prompts); ++i) {
    if (metric.has_patching_score()) {
      const v1::PatchingScore& score = metric.patching_score();
      const int32_t source = prompts + EntryFor(i, score.sources());
      const auto difference = [&](int32_t row) {
        const absl::Span<const float> logits = rows[row].At(position(row));
        return static_cast<double>(logits[EntryFor(i, score.targets())]) -
               logits[EntryFor(i, score.distractors())];
      };
      const Differences found = {difference(i), difference(source)};
      differences_[{index, i}] = found;
      v1::MetricResult* result = Add(index, i, &clean_);
      result->add_values(found.prompt);
      result->add_values(found.source);
    } else if (ComparesWithClean(metric)) {
      Prediction& prediction = predictions_[{i, position(i)}];
      prediction.top = TopIds(rows[i].At(position(i)), 1)[0];
      if (metric.has_kl_from_clean()) {
        prediction.log_probs = rows[i].LogProbsAt(position(i));
        prediction.probs = Probs(prediction.log_probs);
      }
    } else {
      Fill(index, i, rows[i], Add(index, i, &clean_));
    }
  }
}

MetricResults SweepMetrics::Measure(const std::vector<at::Tensor>& logits) const {
  std::vector<RowLogits> rows;
  for (int32_t i = 0; i < sweep_->edited_prompts(); ++i)
    rows.emplace_back(sweep_->base()->logit_positions[i], logits[i]);
  MetricResults results;
  for (int i = 0; i < sweep_->request().metrics_size(); ++i) {
    for (int32_t prompt = 0; prompt < sweep_->edited_prompts(); ++prompt)
      Fill(i, prompt, rows[prompt], Add(i, prompt, &results));
  }
  UseOneNan(results);
  return results;
}

void SweepMetrics::AddTopK(const Metric& metric, int64_t position, RowLogits& logits,
                           v1::MetricResult* result) const {
  const absl::Span<const float> values = logits.At(position);
  const absl::Span<const double> log_probs = Numbers(logits.LogProbsAt(position));
  for (const int32_t id : TopIds(values, metric.top_k().k())) {
    FillTokenLogit(
        sweep_->tokenizer(), values, id, [&](int32_t top) { return log_probs[top]; },
        result->add_tokens());
  }
}

void SweepMetrics::Fill(size_t index, int32_t prompt, RowLogits& logits,
                        v1::MetricResult* result) const {
  const Metric& metric = sweep_->request().metrics(static_cast<int>(index));
  const std::vector<int32_t>& tokens = sweep_->prompts()[prompt];
  if (metric.has_loss()) return result->add_values(logits.Loss(tokens));
  const int64_t position = sweep_->MetricPosition(index, prompt);
  const absl::Span<const float> values = logits.At(position);
  const auto difference = [&](const auto& kind) {
    return static_cast<double>(values[EntryFor(prompt, kind.targets())]) -
           values[EntryFor(prompt, kind.distractors())];
  };
  switch (metric.kind_case()) {
    case Metric::kLogits:
      for (const int32_t id : metric.logits().ids()) result->add_values(values[id]);
      return;
    case Metric::kLogProbs:
      for (const int32_t id : metric.log_probs().ids())
        result->add_values(Numbers(logits.LogProbsAt(position))[id]);
      return;
    case Metric::kProbabilities:
      for (const int32_t id : metric.probabilities().ids())
        result->add_values(kernels::Exp(Numbers(logits.LogProbsAt(position))[id]));
      return;
    case Metric::kRanks:
      for (const int32_t id : metric.ranks().ids()) result->add_values(RankOf(values, id));
      return;
    case Metric::kLogitDiff:
      return result->add_values(difference(metric.logit_diff()));
    case Metric::kKlFromClean: {
      const Prediction& clean = predictions_.at({prompt, position});
      return result->add_values(KlDivergence(Numbers(clean.probs), Numbers(clean.log_probs),
                                             Numbers(logits.LogProbsAt(position))));
    }
    case Metric::kTop1Agreement:
      return result->add_values(
          Agreement(TopIds(values, 1)[0], predictions_.at({prompt, position}).top));
    case Metric::kTopK:
      return AddTopK(metric, position, logits, result);
    case Metric::kPatchingScore: {
      const Differences& clean = differences_.at({index, prompt});
      return result->add_values((difference(metric.patching_score()) - clean.prompt) /
                                (clean.source - clean.prompt));
    }
    case Metric::kLoss:
    case Metric::KIND_NOT_SET:
      return;
  }
}

}  // namespace scalpel::spec
