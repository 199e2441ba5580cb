#include "server/spec/weight.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "server/spec/cost.h"
#include "server/spec/stats.h"

namespace scalpel::spec {
namespace {

// ---- memory of the plan -------------------------------------------------------------------------

constexpr int64_t kNodeBytes = 64;  // around a value in a map, or behind a shared pointer

template <typename T>
int64_t HeapBytes(const std::vector<T>& list) {
  return static_cast<int64_t>(list.capacity() * sizeof(T));
}

// Adds up what is shared, each once.
class SharedBytes {
 public:
  void Add(const std::shared_ptr<const Region>& region) {
    if (!seen_.insert(region.get()).second) return;
    bytes_ += kNodeBytes + static_cast<int64_t>(sizeof(Region));
    for (int i = 0; i < region->rank(); ++i) {
      bytes_ += static_cast<int64_t>(sizeof(IndexSet));
      const std::vector<int64_t>* list = region->axis(i).list();
      if (list != nullptr && seen_.insert(list).second) bytes_ += kNodeBytes + HeapBytes(*list);
    }
  }
  void Add(const std::shared_ptr<const std::vector<AttentionPair>>& pairs) {
    if (pairs != nullptr && seen_.insert(pairs.get()).second)
      bytes_ += kNodeBytes + HeapBytes(*pairs);
  }
  int64_t bytes() const { return bytes_; }

 private:
  absl::flat_hash_set<const void*> seen_;
  int64_t bytes_ = 0;
};

int64_t SiteBytes(const SitePlan& site, SharedBytes& shared) {
  int64_t bytes = kNodeBytes + static_cast<int64_t>(sizeof(SitePlan)) + HeapBytes(site.steps) +
                  HeapBytes(site.before) + HeapBytes(site.after) + HeapBytes(site.kept_rows);
  for (const Step& step : site.steps) {
    shared.Add(step.target);
    if (step.source) shared.Add(step.source->region);
    shared.Add(step.pairs);
  }
  for (const auto* list : {&site.before, &site.after}) {
    for (const Observation& observation : *list) {
      shared.Add(observation.region);
      if (observation.rows.size() > 2)
        bytes += static_cast<int64_t>(observation.rows.capacity() * sizeof(int32_t));
    }
  }
  return bytes;
}

// ---- memory of a pass ---------------------------------------------------------------------------

// A probe's number is there as a double, again in the tensor of its layer, and in the message,
// whose lists grow by doubling.
constexpr int64_t kMeasuredBytes = 4 * static_cast<int64_t>(sizeof(double));
// Of each element that a probe reads: its sample, that of the clean run, and room to sort.
constexpr int64_t kSampleBytes = 3 * static_cast<int64_t>(sizeof(float));
// Of each element that a step changes: before, after, their difference, and what compares them.
constexpr int64_t kStepBytes = 6 * static_cast<int64_t>(sizeof(float));

// What observations and steps make: the numbers of the layer that has the most, and the largest
// that is there only in passing.
int64_t ObservationBytes(const Plan& plan) {
  std::map<int32_t, int64_t> numbers;  // by layer
  int64_t passing = 0;
  for (const auto& [key, site_plan] : plan.sites) {
    const SiteEntry& site = EntryOf(key.second);
    for (const Step& step : site_plan.steps)
      passing = std::max(passing, kStepBytes * step.target->elements());
    for (const auto* list : {&site_plan.before, &site_plan.after}) {
      for (const Observation& observation : *list) {
        if (observation.kind != Observation::Kind::kProbe) continue;
        numbers[key.first] +=
            MeasuredCount(plan.probes[observation.index], site, *observation.region);
        passing = std::max(passing, kSampleBytes * observation.region->elements());
      }
    }
  }
  int64_t most = 0;
  for (const auto& [layer, count] : numbers) most = std::max(most, count);
  return most * kMeasuredBytes + passing;
}

// ---- time ---------------------------------------------------------------------------------------

// Nanoseconds on one core of an AMD EPYC (Zen 5, AVX-512), as measured in November 2026 by spec's
// own functions, with activations of 768 to three million elements. A statistic took 0.05 to 0.8 an
// element; one quantile 9, eight 17 and 64 of them 28; a histogram 3; an edit 3 to 7, with the
// account of what it did. They need not be exact: what they decide is which of two requests is
// heavier, and what is refused as far too heavy.
constexpr double kObservationNs = 5'000;  // of an observation, whatever it reads
constexpr double kStepNs = 17'000;        // of a step, whatever it changes
constexpr double kReadNs = 0.25;          // of an element that is read, or copied to be sent
constexpr double kGatherNs = 1;           // of an element in a list of indices
constexpr double kStatisticNs = 0.3;      // of an element in one statistic
constexpr double kOrderNs = 5;            // of an element where quantiles are asked for, and
constexpr double kSelectNs = 4;           // each time that their number doubles
constexpr double kBinNs = 3;              // of an element that a histogram counts
constexpr double kKeptNs = 40;            // of an index that is kept: its samples are by themselves
constexpr double kNumberNs = 12;          // of a number of the result, until it is in the message
// Of the model, on two such cores.
constexpr double kFlopsPerSecond = 3.6e11;

double ListNs(const Region& region, double elements) {
  for (int i = 0; i < region.rank(); ++i) {
    if (!region.axis(i).arithmetic()) return kGatherNs * elements;
  }
  return 0;
}

double ProbeNs(const v1::Probe& probe, const SiteEntry& site, const Observation& observation) {
  const Region& region = *observation.region;
  const double elements = static_cast<double>(region.elements());
  double per_element = kReadNs;
  per_element += kStatisticNs * probe.statistics_size();
  if (probe.quantiles_size() > 0)
    per_element += kOrderNs + kSelectNs * std::log2(1.0 + probe.quantiles_size());
  if (probe.has_histogram()) per_element += kBinNs;
  if (observation.clean_row) per_element += kReadNs;
  double kept = 1;
  for (const int64_t length : KeptShape(probe, site, region)) kept *= static_cast<double>(length);
  return kObservationNs + ListNs(region, elements) + per_element * elements + kKeptNs * kept +
         kNumberNs * static_cast<double>(MeasuredCount(probe, site, region));
}

double TensorNs(const Observation& observation) {
  const double elements =
      static_cast<double>(observation.region->elements()) * observation.rows.size();
  return kObservationNs + ListNs(*observation.region, elements) + kReadNs * elements;
}

double StepNs(const Edit& edit, const Step& step) {
  const double elements = static_cast<double>(step.target->elements());
  double ns = kStepNs + ListNs(*step.target, 2 * elements) + edit.element_ns * elements;
  if (step.source) {
    const double read = static_cast<double>(step.source->region->elements());
    ns += ListNs(*step.source->region, read) + kReadNs * read;
  }
  return ns;
}

// Nanoseconds by edit, by probe and by entry of Plan::tensors.
struct Times {
  std::vector<double> edits, probes, tensors;
  double Sum() const {
    double sum = 0;
    for (const auto* list : {&edits, &probes, &tensors}) {
      for (const double ns : *list) sum += ns;
    }
    return sum;
  }
};

Times TimesOf(const Plan& plan) {
  Times times{std::vector<double>(plan.edits.size()), std::vector<double>(plan.probes.size()),
              std::vector<double>(plan.tensors.size())};
  for (const auto& [key, site_plan] : plan.sites) {
    const SiteEntry& site = EntryOf(key.second);
    for (const Step& step : site_plan.steps)
      times.edits[step.edit] += StepNs(plan.edits[step.edit], step);
    for (const auto* list : {&site_plan.before, &site_plan.after}) {
      for (const Observation& each : *list) {
        if (each.kind == Observation::Kind::kProbe)
          times.probes[each.index] += ProbeNs(plan.probes[each.index], site, each);
        else
          times.tensors[each.index] += TensorNs(each);
      }
    }
  }
  return times;
}

std::string FieldOf(const TensorOutput& output, size_t index) {
  if (!output.batched) return absl::StrCat("captures[", index, "]");
  return output.tuple_element ? "block_outputs" : "output_hidden_states";
}

// Of the model's forward pass: a layer's matrices, and the attention to a short prompt.
double PositionSeconds(const model::Gpt2Config& config) {
  const double d = static_cast<double>(config.d_model);
  const double flops = static_cast<double>(config.n_layer) *
                       (8.0 * d * d + 4.0 * d * static_cast<double>(config.d_mlp));
  return std::max(flops / kFlopsPerSecond, kPositionSecondsMin);
}

}  // namespace

int64_t PlanBytes(const Plan& plan) {
  SharedBytes shared;
  int64_t bytes = static_cast<int64_t>(sizeof(Plan) + plan.started.SpaceUsedLong()) +
                  HeapBytes(plan.rows) + HeapBytes(plan.tokens) + HeapBytes(plan.edits) +
                  HeapBytes(plan.tensors) + HeapBytes(plan.logit_positions) +
                  HeapBytes(plan.logits.ids);
  for (const auto& tokens : plan.tokens) bytes += HeapBytes(tokens);
  for (const auto& positions : plan.logit_positions) bytes += HeapBytes(positions);
  for (const Edit& edit : plan.edits) {
    bytes += static_cast<int64_t>(edit.name.capacity() + edit.intervention.SpaceUsedLong());
    if (edit.operand.defined()) bytes += static_cast<int64_t>(edit.operand.nbytes());
  }
  for (const v1::Probe& probe : plan.probes) bytes += static_cast<int64_t>(probe.SpaceUsedLong());
  for (const TensorOutput& output : plan.tensors)
    bytes += static_cast<int64_t>(output.header.SpaceUsedLong());
  for (const auto& [key, site] : plan.sites) bytes += SiteBytes(site, shared);
  return bytes + shared.bytes();
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
  bool attention = false, head_results = false, logits = false;
  for (const auto& [key, site_plan] : plan.sites) {
    attention =
        attention || key.second == model::Site::kAttnScores || key.second == model::Site::kPattern;
    head_results = head_results || key.second == model::Site::kHeadResult;
    logits = logits || key.second == model::Site::kLogits;
    for (const int32_t row : site_plan.kept_rows) {
      const int64_t length = static_cast<int64_t>(plan.tokens[row].size());
      const SiteEntry& site = EntryOf(key.second);
      floats += length * (IsAttention(site.facts) ? config.n_head * length
                                                  : std::max(3 * config.d_model, config.d_mlp));
    }
  }
  floats += attention ? 2 * scores : 2 * scores_max + 2 * config.n_head * (int64_t{1} << 21);
  if (head_results) floats += tokens * config.n_head * config.d_model;
  if (logits) floats += 2 * tokens * config.vocab_size;
  for (const auto& positions : plan.logit_positions)
    floats += 2 * static_cast<int64_t>(positions.size()) * config.vocab_size;
  return floats * static_cast<int64_t>(sizeof(float)) + ObservationBytes(plan);
}

HeaviestField FindHeaviestField(const Plan& plan, absl::string_view prefix) {
  const Times times = TimesOf(plan);
  HeaviestField heaviest;
  const auto consider = [&](double ns, const std::string& field) {
    if (ns * 1e-9 > heaviest.seconds) heaviest = {field, ns * 1e-9};
  };
  for (size_t i = 0; i < times.edits.size(); ++i)
    consider(times.edits[i], absl::StrCat(std::string(prefix), "interventions[", i, "]"));
  for (size_t i = 0; i < times.probes.size(); ++i)
    consider(times.probes[i], absl::StrCat("probes[", i, "]"));
  for (size_t i = 0; i < times.tensors.size(); ++i)
    consider(times.tensors[i], FieldOf(plan.tensors[i], i));
  return heaviest;
}

void Weigh(const model::Gpt2Config& config, Plan& plan) {
  Weight& weight = plan.weight;
  weight.plan_bytes = PlanBytes(plan);
  weight.activation_bytes = EstimateActivationBytes(plan, config);
  weight.observation_seconds = TimesOf(plan).Sum() * 1e-9;
  weight.observation_positions =
      static_cast<int64_t>(weight.observation_seconds / PositionSeconds(config));
}

}  // namespace scalpel::spec
