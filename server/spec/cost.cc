#include "server/spec/cost.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/base/errors.h"
#include "server/spec/stats.h"
#include "server/spec/weight.h"

namespace scalpel::spec {
namespace {

int64_t DtypeBytes(v1::DataType dtype) {
  return dtype == v1::DATA_TYPE_FLOAT16 || dtype == v1::DATA_TYPE_BFLOAT16 ? 2 : 4;
}

int64_t TensorBytes(int64_t elements, v1::DataType dtype) {
  const int64_t bytes = elements * DtypeBytes(dtype);
  return bytes + kMessageBytes * (2 + bytes / (int64_t{1} << 20));
}

// Bytes of a region's indices beside its values.
int64_t IndicesBytes(const Region& region) {
  int64_t bytes = 0;
  for (int i = 0; i < region.rank(); ++i)
    bytes += kNumberBytes * (region.axis(i).arithmetic() ? 4 : region.axis(i).size());
  return bytes;
}

int64_t ProbeBytes(const v1::Probe& probe, const SiteEntry& site, const Region& region) {
  return kMessageBytes + static_cast<int64_t>(probe.name().size()) +
         (probe.keep().empty() ? 0 : IndicesBytes(region)) +
         kNumberBytes * (MeasuredCount(probe, site, region) + 2 * probe.statistics_size() +
                         2 * probe.quantiles_size());
}

int64_t OutputBytes(const TensorOutput& output, const Observation& observation) {
  const int64_t rows = static_cast<int64_t>(observation.rows.size());
  const int64_t bytes = TensorBytes(rows * observation.region->elements(), output.dtype);
  if (!output.batched) return bytes + IndicesBytes(*observation.region);
  // The message that lists a tuple's elements counts with the first.
  return bytes + (output.tuple_element == 0 ? kMessageBytes + kNumberBytes * rows : 0);
}

}  // namespace

double EstimateRowFlops(const Plan& plan, size_t row, const model::Gpt2Config& config) {
  const int64_t positions = config.n_layer * static_cast<int64_t>(plan.tokens[row].size());
  return RowFlops(plan, row, positions, positions, /*logits=*/true, config);
}

double RowFlops(const Plan& plan, size_t row, int64_t attention, int64_t mlp, bool logits,
                const model::Gpt2Config& config) {
  const double d = static_cast<double>(config.d_model);
  const double tokens = static_cast<double>(plan.tokens[row].size());
  const double attention_flops = 8.0 * d * d + 4.0 * tokens * d;  // a position, a layer
  const double mlp_flops = 4.0 * d * static_cast<double>(config.d_mlp);
  double flops =
      static_cast<double>(attention) * attention_flops + static_cast<double>(mlp) * mlp_flops;
  if (logits) {
    const bool all = plan.sites.contains({model::kNoLayer, model::Site::kLogits});
    const double positions =
        static_cast<double>(plan.logit_positions[row].size()) + (all ? tokens : 0.0);
    flops += 2.0 * d * static_cast<double>(config.vocab_size) * positions;
  }
  return flops;
}

int64_t EstimateObservationBytes(const Plan& plan) {
  int64_t bytes = 0;
  for (const auto& [key, site_plan] : plan.sites) {
    const SiteEntry& site = EntryOf(key.second);
    for (const auto* list : {&site_plan.before, &site_plan.after}) {
      for (const Observation& observation : *list) {
        bytes += observation.kind == Observation::Kind::kProbe
                     ? ProbeBytes(plan.probes[observation.index], site, *observation.region)
                     : OutputBytes(plan.tensors[observation.index], observation);
      }
    }
  }
  return bytes;
}

int64_t EstimateLogitsBytes(const Plan& plan, const model::Gpt2Config& config) {
  int64_t bytes = 0;
  for (const auto& positions : plan.logit_positions) {
    const int64_t count = static_cast<int64_t>(positions.size());
    if (plan.logits.full) {
      bytes += TensorBytes(count * config.vocab_size, *plan.logits.full) + kNumberBytes * count;
    } else {
      const int64_t tokens = plan.logits.top_k + static_cast<int64_t>(plan.logits.ids.size());
      bytes += kMessageBytes + count * (kNumberBytes + tokens * kTokenBytes);
    }
  }
  return bytes;
}

v1::Cost EstimateCost(const Plan& plan, const model::Gpt2Config& config) {
  v1::Cost cost;
  int64_t tokens = 0;
  for (const auto& row : plan.tokens) tokens += static_cast<int64_t>(row.size());
  cost.set_rows(static_cast<int32_t>(plan.rows.size()));
  cost.set_tokens(tokens);
  for (size_t row = 0; row < plan.rows.size(); ++row)
    cost.set_flops(cost.flops() + EstimateRowFlops(plan, row, config));
  const int64_t started =
      2 * plan.started.normalized().ByteSizeLong() + tokens * (kTokenBytes + 2 * kNumberBytes);
  const int64_t reports = kReportBytes * static_cast<int64_t>(plan.edits.size());
  cost.set_response_bytes(started + reports + EstimateObservationBytes(plan) +
                          EstimateLogitsBytes(plan, config) + 2 * kMessageBytes);
  cost.set_activation_bytes(plan.weight.activation_bytes + plan.weight.plan_bytes);
  cost.set_observation_seconds(plan.weight.observation_seconds);
  return cost;
}

absl::Status CheckCost(const Plan& plan, const Limits& limits) {
  const int64_t response = plan.started.cost().response_bytes();
  if (response > limits->max_response_bytes()) {
    return OverLimit("limits.max_response_bytes",
                     absl::StrCat("the response is estimated at ", response, " bytes, at most ",
                                  limits->max_response_bytes(),
                                  " are allowed; ask for fewer captures, layers, positions or "
                                  "logits, or for a 16-bit dtype"));
  }
  return CheckWeight(plan, 0, "the run", "", limits);
}

absl::Status CheckWeight(const Plan& plan, int64_t extra_bytes, absl::string_view what,
                         absl::string_view prefix, const Limits& limits) {
  const int64_t bytes = plan.weight.activation_bytes + plan.weight.plan_bytes + extra_bytes;
  if (bytes > limits->max_activation_bytes()) {
    return OverLimit("limits.max_activation_bytes",
                     absl::StrCat(std::string(what), " is estimated to need ", bytes,
                                  " bytes, at most ", limits->max_activation_bytes(),
                                  " are allowed; send fewer or shorter prompts, or look at fewer "
                                  "attention scores or logits, or keep fewer axes of probes"));
  }
  if (plan.weight.observation_seconds <= limits->max_observation_seconds()) return absl::OkStatus();
  const HeaviestField heaviest = FindHeaviestField(plan, prefix);
  return OverLimit(
      heaviest.field,
      absl::StrFormat(
          "the interventions, probes and captures of %s are estimated to take %.1f "
          "seconds beside the model's own time, at most %d are allowed; this is the "
          "heaviest of them, with %.2g seconds; select fewer layers, prompts, positions "
          "or units, ask for fewer quantiles, or split the request",
          std::string(what), plan.weight.observation_seconds, limits->max_observation_seconds(),
          heaviest.seconds));
}

}  // namespace scalpel::spec
