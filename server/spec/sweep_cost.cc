#include "server/spec/sweep_cost.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/spec/cost.h"
#include "server/spec/metric_fields.h"

namespace scalpel::spec {
namespace {

// Results of all metrics for so many prompts.
int64_t MetricBytes(const MetricList& metrics, int64_t prompts) {
  int64_t bytes = 0;
  for (const v1::Metric& metric : metrics) {
    bytes += kMessageBytes + static_cast<int64_t>(metric.name().size()) +
             kNumberBytes * std::max<int64_t>(2, NumberCount(metric)) +
             kTokenBytes * metric.top_k().k();
  }
  return bytes * prompts;
}

int64_t ResponseBytes(const Sweep& sweep, const VariantCosts& costs) {
  const MetricList& metrics = sweep.request().metrics();
  const int64_t prompts = sweep.edited_prompts(), variants = sweep.variants();
  const int64_t probes = EstimateObservationBytes(*sweep.base());
  int64_t bytes = 2 * static_cast<int64_t>(sweep.started().ByteSizeLong()) + 2 * kMessageBytes;
  bytes += MetricBytes(metrics, static_cast<int64_t>(sweep.prompts().size())) + probes;
  for (int32_t i = 0; i < variants; ++i) bytes += static_cast<int64_t>(sweep.VariantName(i).size());
  bytes += variants * (2 * kMessageBytes + MetricBytes(metrics, prompts) + probes);  // and progress
  if (sweep.reports()) bytes += costs.interventions * kReportBytes;
  return bytes;
}

// What stays in memory of the clean runs for metrics that compare with them.
int64_t ReferenceBytes(const Sweep& sweep, const model::Gpt2Config& config) {
  std::set<std::pair<int32_t, int64_t>> places;
  const MetricList& metrics = sweep.request().metrics();
  for (int metric = 0; metric < metrics.size(); ++metric) {
    if (!metrics[metric].has_kl_from_clean()) continue;
    for (int32_t prompt = 0; prompt < sweep.edited_prompts(); ++prompt)
      places.insert({prompt, sweep.MetricPosition(metric, prompt)});
  }
  constexpr int64_t kBytes = 2 * sizeof(double);  // a probability and its logarithm
  return static_cast<int64_t>(places.size()) * config.vocab_size * kBytes;
}

}  // namespace

void VariantCosts::Add(int32_t index, const Plan& plan, const model::Gpt2Config& config) {
  for (size_t row = 0; row < plan.rows.size(); ++row) {
    if (plan.rows[row].clean) continue;
    ++rows;
    tokens += static_cast<int64_t>(plan.tokens[row].size());
    flops += EstimateRowFlops(plan, row, config);
  }
  interventions += static_cast<int64_t>(plan.edits.size());
  const int64_t bytes = plan.weight.plan_bytes + plan.weight.activation_bytes;
  if (bytes > bytes_max) {
    bytes_max = bytes;
    largest = index;
  }
  if (plan.weight.observation_seconds > seconds_max) {
    seconds_max = plan.weight.observation_seconds;
    slowest = index;
  }
}

v1::Cost EstimateSweepCost(const Sweep& sweep, const VariantCosts& variants,
                           const model::Gpt2Config& config) {
  v1::Cost cost = EstimateCost(*sweep.base(), config);
  cost.set_rows(static_cast<int32_t>(cost.rows() + variants.rows));
  cost.set_tokens(cost.tokens() + variants.tokens);
  cost.set_flops(cost.flops() + variants.flops);
  cost.set_response_bytes(ResponseBytes(sweep, variants));
  cost.set_activation_bytes(std::max(cost.activation_bytes(), variants.bytes_max) +
                            ReferenceBytes(sweep, config));
  cost.set_observation_seconds(std::max(cost.observation_seconds(), variants.seconds_max));
  return cost;
}

absl::Status CheckSweepCost(const Sweep& sweep, const VariantCosts& variants,
                            const model::Gpt2Config& config, const Limits& limits) {
  const int64_t bytes = sweep.started().cost().response_bytes();
  if (bytes > limits->max_response_bytes()) {
    return OverLimit("limits.max_response_bytes",
                     absl::StrCat("the response is estimated at ", bytes, " bytes, at most ",
                                  limits->max_response_bytes(),
                                  " are allowed; ask for fewer variants, metrics or probes, or "
                                  "split the sweep"));
  }
  const int64_t references = ReferenceBytes(sweep, config);
  const auto check_variant = [&](int32_t index) {
    return CheckWeight(*sweep.VariantPlan(index), references, "a variant",
                       sweep.InterventionsPrefix(index), limits);
  };
  absl::Status status = CheckWeight(*sweep.base(), references, "the clean run", "", limits);
  if (status.ok()) status = check_variant(variants.largest);
  if (status.ok() && variants.slowest != variants.largest) status = check_variant(variants.slowest);
  return status;
}

}  // namespace scalpel::spec
