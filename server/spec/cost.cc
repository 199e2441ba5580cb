#include "server/spec/cost.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/spec/stats.h"

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

int64_t LogitsBytes(const Plan& plan, const model::Gpt2Config& config) {
  const v1::LogitsRequest& logits = plan.request.logits();
  int64_t bytes = 0;
  for (const auto& positions : plan.logit_positions) {
    const int64_t count = static_cast<int64_t>(positions.size());
    if (logits.has_full()) {
      bytes += TensorBytes(count * config.vocab_size, logits.full().dtype()) + kNumberBytes * count;
    } else {
      const int64_t tokens = logits.has_top_k() ? logits.top_k().k() : logits.ids().ids_size();
      bytes += kMessageBytes + count * (kNumberBytes + tokens * kTokenBytes);
    }
  }
  return bytes;
}

int64_t BlockBytes(const Plan& plan, const model::Gpt2Config& config) {
  const v1::DataType dtype = plan.request.block_outputs().dtype();
  const int64_t tuples = std::count(plan.block_outputs.begin(), plan.block_outputs.end(), true);
  int64_t bytes = 0;
  for (const LengthGroup& group : plan.groups) {
    const int64_t rows = static_cast<int64_t>(group.rows.size());
    const int64_t tokens = static_cast<int64_t>(plan.tokens[group.rows.front()].size());
    const int64_t hidden = TensorBytes(rows * tokens * config.d_model, dtype);
    bytes += tuples * (kMessageBytes + kNumberBytes * rows + hidden);
    if (plan.request.output_attentions())
      bytes += tuples * TensorBytes(rows * config.n_head * tokens * tokens, dtype);
    if (plan.request.output_hidden_states()) bytes += (config.n_layer + 1) * hidden;
  }
  return bytes;
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
    const SiteEntry& site = *FindSite(ToProto(key.second));
    for (const auto* list : {&site_plan.probes_before, &site_plan.probes_after}) {
      for (const Observation& observation : *list) {
        const v1::Probe& probe = plan.request.probes(observation.index);
        bytes += kMessageBytes + static_cast<int64_t>(probe.name().size()) +
                 (probe.keep().empty() ? 0 : IndicesBytes(*observation.region)) +
                 kNumberBytes * (MeasuredCount(probe, site, *observation.region) +
                                 2 * probe.statistics_size() + 2 * probe.quantiles_size());
      }
    }
    for (const auto* list : {&site_plan.captures_before, &site_plan.captures_after}) {
      for (const Observation& observation : *list) {
        bytes += TensorBytes(observation.region->elements(),
                             plan.request.captures(observation.index).dtype()) +
                 IndicesBytes(*observation.region);
      }
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
      2 * plan.request.ByteSizeLong() + tokens * (kTokenBytes + 2 * kNumberBytes);
  const int64_t reports = kReportBytes * plan.request.interventions_size();
  cost.set_response_bytes(started + reports + EstimateObservationBytes(plan) +
                          LogitsBytes(plan, config) + BlockBytes(plan, config) + 2 * kMessageBytes);
  return cost;
}

int64_t EstimateActivationBytes(const Plan& plan, const model::Gpt2Config& config) {
  int64_t tokens = 0, scores = 0, scores_max = 0;
  for (const auto& row : plan.tokens) {
    const int64_t length = static_cast<int64_t>(row.size());
    tokens += length;
    scores += config.n_head * length * length;
    scores_max = std::max(scores_max, config.n_head * length * length);
  }
  // At once: the residual stream and its LayerNorm, QKV or the MLP's two hidden states, their
  // output.
  int64_t floats = tokens * (4 * config.d_model + std::max(4 * config.d_model, 2 * config.d_mlp));
  bool attention = plan.request.output_attentions(), head_results = false, logits = false;
  for (const auto& [key, site_plan] : plan.sites) {
    attention =
        attention || key.second == model::Site::kAttnScores || key.second == model::Site::kPattern;
    head_results = head_results || key.second == model::Site::kHeadResult;
    logits = logits || key.second == model::Site::kLogits;
    for (const int32_t row : site_plan.kept_rows) {
      const int64_t length = static_cast<int64_t>(plan.tokens[row].size());
      const SiteEntry& site = *FindSite(ToProto(key.second));
      floats += length * (IsAttention(site.facts) ? config.n_head * length
                                                  : std::max(3 * config.d_model, config.d_mlp));
    }
  }
  floats += attention ? 2 * scores : 2 * scores_max + 2 * config.n_head * (int64_t{1} << 21);
  if (head_results) floats += tokens * config.n_head * config.d_model;
  if (logits) floats += 2 * tokens * config.vocab_size;
  for (const auto& positions : plan.logit_positions)
    floats += 2 * static_cast<int64_t>(positions.size()) * config.vocab_size;
  return floats * static_cast<int64_t>(sizeof(float));
}

absl::Status CheckCost(const Plan& plan, const v1::Cost& cost, const model::Gpt2Config& config,
                       const Limits& limits) {
  if (cost.response_bytes() > limits.response_bytes_max) {
    return OverLimit("limits.max_response_bytes",
                     absl::StrCat("the response is estimated at ", cost.response_bytes(),
                                  " bytes, at most ", limits.response_bytes_max,
                                  " are allowed; ask for fewer captures, layers, positions or "
                                  "logits, or for a 16-bit dtype"));
  }
  const int64_t activations = EstimateActivationBytes(plan, config);
  if (activations > limits.activation_bytes_max) {
    return OverLimit("activation memory",
                     absl::StrCat("the run is estimated to need ", activations, " bytes, at most ",
                                  limits.activation_bytes_max,
                                  " are allowed; send fewer or shorter prompts, or look at fewer "
                                  "attention scores or logits"));
  }
  return absl::OkStatus();
}

}  // namespace scalpel::spec
