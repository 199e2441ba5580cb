#include "tests/unit/support/random_spec.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <vector>

#include "server/contract/statistics.h"
#include "server/spec/sites.h"

namespace scalpel::test {
namespace {

using Operation = v1::Intervention;

class Generator {
 public:
  Generator(std::mt19937_64& random, const model::Gpt2Config& config)
      : random_(random), config_(config) {}

  v1::RunRequest Make() {
    AddPrompts();
    if (Chance(0.25)) request_.set_include_clean_run(true);
    if (Chance(0.5)) request_.set_seed(random_());
    for (int64_t n = Below(5); n > 0; --n) FillIntervention(request_.add_interventions());
    for (int64_t n = Below(4); n > 0; --n) FillProbe(request_.add_probes());
    for (int64_t n = Below(4); n > 0; --n) FillCapture(request_.add_captures());
    FillOutputs();
    return request_;
  }

 private:
  int64_t Below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  bool Chance(double p) { return static_cast<double>(random_() >> 11) * 0x1p-53 < p; }
  double Number() { return static_cast<double>(Below(4001) - 2000) / 700.0; }

  // Returns `count` different numbers of [0, size) in random order.
  std::vector<int64_t> Subset(int64_t size, int64_t count) {
    std::vector<int64_t> all(size);
    std::iota(all.begin(), all.end(), 0);
    std::shuffle(all.begin(), all.end(), random_);
    all.resize(count);
    return all;
  }
  std::vector<int64_t> Subset(int64_t size) { return Subset(size, 1 + Below(size)); }

  // Rewrites some of the indices to count from the end, as negative numbers.
  std::vector<int64_t> FromEitherEnd(std::vector<int64_t> indices, int64_t size) {
    for (int64_t& index : indices) {
      if (Chance(0.2)) index -= size;
    }
    return indices;
  }

  template <typename List>
  static void Assign(const std::vector<int64_t>& values, List* list) {
    list->Assign(values.begin(), values.end());
  }

  v1::DataType Dtype() { return static_cast<v1::DataType>(Below(4)); }
  v1::Moment Moment() { return static_cast<v1::Moment>(Below(3)); }
  const spec::SiteEntry& AnySite() { return spec::AllSites()[Below(spec::AllSites().size())]; }

  void AddPrompts() {
    for (int64_t n = 1 + Below(3); n > 0; --n) {
      auto* ids = request_.add_prompts()->mutable_token_ids()->mutable_ids();
      const int64_t length = 1 + Below(kRandomTokensMax);
      for (int64_t i = 0; i < length; ++i)
        ids->Add(static_cast<int32_t>(Below(config_.vocab_size)));
      shortest_ = std::min(shortest_, length);
    }
  }

  // For a message with the fields `range` and `indices`.
  template <typename Indices>
  void FillIndices(int64_t size, Indices* out) {
    if (Chance(0.5)) {
      const int64_t start = Below(size), end = start + 1 + Below(size - start);
      v1::Range* range = out->mutable_range();
      if (Chance(0.7)) range->set_start(Chance(0.3) ? start - size : start);
      if (Chance(0.7)) range->set_end(end);
      if (Chance(0.5)) range->set_step(1 + Below(4));
      return;
    }
    Assign(FromEitherEnd(Subset(size), size), out->mutable_indices()->mutable_values());
  }

  // Positions that every prompt has. Indices from the end mean different positions in each prompt.
  void FillPositions(v1::Positions* positions) { FillIndices(shortest_, positions); }

  void FillWhere(const spec::SiteEntry& site, v1::Selection* where) {
    const auto has = [&](v1::Axis axis) { return spec::AxisIndex(site.facts, axis).has_value(); };
    if (site.facts.per_layer() && Chance(0.5))
      Assign(FromEitherEnd(Subset(config_.n_layer), config_.n_layer), where->mutable_layers());
    if (has(v1::AXIS_HEAD) && Chance(0.5))
      Assign(FromEitherEnd(Subset(config_.n_head), config_.n_head), where->mutable_heads());
    if (has(v1::AXIS_UNIT) && Chance(0.5)) {
      FillIndices(spec::UnitSize(site.facts.unit_axis(), config_), where->mutable_units());
    }
    if (Chance(0.5)) FillPositions(where->mutable_positions());
    if (has(v1::AXIS_KEY) && Chance(0.3)) FillPositions(where->mutable_key_positions());
    if (Chance(0.4)) Assign(Subset(request_.prompts_size()), where->mutable_prompts());
    if (Chance(0.1)) {
      const auto& ids = request_.prompts(0).token_ids().ids();
      where->mutable_positions()->mutable_tokens()->add_ids(ids[Below(ids.size())]);
      Assign({0}, where->mutable_prompts());
    }
  }

  // For a message with the fields `constant` and `tensor`. A tensor has one number, or one for each
  // unit.
  template <typename Value>
  void FillValue(const spec::SiteEntry& site, const v1::Selection& where, Value* value) {
    if (Chance(0.4)) return value->set_constant(Number());
    const bool each = Chance(0.5) && !where.has_units() && !spec::IsAttention(site.facts);
    const int64_t count = each ? spec::UnitSize(site.facts.unit_axis(), config_) : 1;
    for (int64_t i = 0; i < count; ++i) value->mutable_tensor()->add_values(Number());
  }

  void FillPatch(v1::Selection* where, v1::Patch* patch) {
    const int64_t prompts = request_.prompts_size(), source = Below(prompts);
    if (prompts == 1 || Chance(0.5)) {
      patch->set_clean_prompt(source);
    } else {
      patch->set_prompt(source);
      std::vector<int64_t> others;
      for (int64_t i = 0; i < prompts; ++i) {
        if (i != source) others.push_back(i);
      }
      Assign(others, where->mutable_prompts());
    }
    const std::vector<int64_t> written = Subset(shortest_);
    Assign(written, where->mutable_positions()->mutable_indices()->mutable_values());
    if (Chance(0.3)) {
      Assign(Subset(shortest_, written.size()),
             patch->mutable_positions()->mutable_indices()->mutable_values());
    }
    if (where->heads_size() > 0 && Chance(0.3)) {
      Assign(Subset(config_.n_head, where->heads_size()), patch->mutable_heads());
    }
    if (where->layers_size() > 0 && Chance(0.4)) {
      int64_t first = config_.n_layer;
      for (const int64_t layer : where->layers())
        first = std::min(first, layer < 0 ? layer + config_.n_layer : layer);
      patch->set_layer(Below(first + 1));
    }
  }

  void FillKnockout(v1::Selection* where, v1::Knockout* knockout) {
    if (Chance(0.5)) return;
    where->clear_positions();
    where->clear_key_positions();
    for (int64_t n = 1 + Below(4); n > 0; --n) {
      v1::QueryKey* pair = knockout->add_pairs();
      pair->set_query(Below(shortest_));
      pair->set_key(Below(pair->query() + 1));
    }
  }

  void FillNoise(v1::Noise* noise) {
    if (Chance(0.5)) noise->set_mean(Number());
    if (Chance(0.5)) noise->set_std(std::abs(Number()));
    if (Chance(0.5)) noise->set_seed(random_());
    noise->set_mode(static_cast<v1::NoiseMode>(Below(3)));
  }

  Operation::OperationCase AnyOperation(const spec::SiteEntry& site) {
    std::vector<Operation::OperationCase> operations = {
        Operation::kZero,  Operation::kScale, Operation::kAdd,  Operation::kSet,
        Operation::kNoise, Operation::kClamp, Operation::kPatch};
    if (site.site != v1::SITE_ATTN_SCORES) operations.push_back(Operation::kMean);
    if (site.site == v1::SITE_ATTN_SCORES) operations.push_back(Operation::kKnockout);
    if (!spec::IsAttention(site.facts)) operations.push_back(Operation::kProjectOut);
    return operations[Below(operations.size())];
  }

  void FillIntervention(v1::Intervention* intervention) {
    const spec::SiteEntry* site = &AnySite();
    while (!site->facts.editable()) site = &AnySite();
    intervention->mutable_place()->set_site(site->site);
    v1::Selection* where = intervention->mutable_place()->mutable_where();
    FillWhere(*site, where);
    switch (AnyOperation(*site)) {
      case Operation::kScale:
        return intervention->mutable_scale()->set_factor(Number());
      case Operation::kAdd:
        if (Chance(0.5)) intervention->mutable_add()->set_coefficient(Number());
        return FillValue(*site, *where, intervention->mutable_add());
      case Operation::kSet:
        return FillValue(*site, *where, intervention->mutable_set());
      case Operation::kNoise:
        return FillNoise(intervention->mutable_noise());
      case Operation::kClamp:
        intervention->mutable_clamp()->set_max(std::abs(Number()) / 10);
        if (Chance(0.5)) intervention->mutable_clamp()->set_min(-std::abs(Number()) / 10);
        return;
      case Operation::kMean:
        intervention->mutable_mean();
        if (Chance(0.5)) FillPositions(intervention->mutable_mean()->mutable_over());
        return;
      case Operation::kPatch:
        return FillPatch(where, intervention->mutable_patch());
      case Operation::kKnockout:
        return FillKnockout(where, intervention->mutable_knockout());
      case Operation::kProjectOut:
        where->clear_units();
        for (int64_t i = spec::UnitSize(site->facts.unit_axis(), config_); i > 0; --i) {
          intervention->mutable_project_out()->mutable_direction()->add_values(Number());
        }
        if (Chance(0.5)) intervention->mutable_project_out()->set_factor(Number());
        return;
      case Operation::kZero:
      case Operation::OPERATION_NOT_SET:
        intervention->mutable_zero();
    }
  }

  void FillProbe(v1::Probe* probe) {
    const spec::SiteEntry& site = AnySite();
    const bool scores = site.site == v1::SITE_ATTN_SCORES;
    probe->mutable_place()->set_site(site.site);
    probe->set_moment(Moment());
    FillWhere(site, probe->mutable_place()->mutable_where());
    const v1::Axis innermost = site.facts.axes(site.facts.axes_size() - 1);
    bool keeps_innermost = false;
    for (const int axis : site.facts.axes()) {
      if (!Chance(0.3) || (scores && axis != v1::AXIS_HEAD)) continue;
      probe->add_keep(static_cast<v1::Axis>(axis));
      keeps_innermost = keeps_innermost || axis == innermost;
    }
    for (int statistic = v1::STATISTIC_MEAN; statistic <= v1::Statistic_MAX; ++statistic) {
      const auto& facts = contract::FactsOf(static_cast<v1::Statistic>(statistic));
      if (facts.only_at() != v1::SITE_UNSPECIFIED && facts.only_at() != site.site) continue;
      if (facts.of_vectors() && (scores || keeps_innermost)) continue;
      if (Chance(0.5)) probe->add_statistics(static_cast<v1::Statistic>(statistic));
    }
    for (int64_t n = Below(3); n > 0; --n) probe->add_quantiles(static_cast<double>(Below(5)) / 4);
    if (probe->statistics().empty() || Chance(0.3)) {
      probe->mutable_histogram()->set_bins(1 + Below(5));
      probe->mutable_histogram()->set_min(-std::abs(Number()) - 0.1);
      probe->mutable_histogram()->set_max(std::abs(Number()));
    }
  }

  void FillCapture(v1::Capture* capture) {
    const spec::SiteEntry& site = AnySite();
    capture->mutable_place()->set_site(site.site);
    capture->set_moment(Moment());
    capture->set_dtype(Dtype());
    FillWhere(site, capture->mutable_place()->mutable_where());
  }

  void FillOutputs() {
    v1::LogitsRequest* logits = request_.mutable_logits();
    switch (Below(6)) {
      case 0:
        logits->mutable_none();
        break;
      case 1:
        logits->mutable_top_k()->set_k(1 + Below(config_.vocab_size));
        break;
      case 2:
        for (int i = 0; i < 3; ++i) logits->mutable_ids()->add_ids(Below(config_.vocab_size));
        break;
      case 3:
        break;  // the default
      default:
        logits->mutable_full()->set_dtype(Dtype());
    }
    if (Chance(0.5)) FillPositions(logits->mutable_positions());
    if (Chance(0.3)) {
      request_.mutable_block_outputs()->set_dtype(Dtype());
      if (Chance(0.5))
        Assign(Subset(config_.n_layer), request_.mutable_block_outputs()->mutable_layers());
    }
    request_.set_output_attentions(Chance(0.3));
    request_.set_output_hidden_states(Chance(0.3));
  }

  std::mt19937_64& random_;
  const model::Gpt2Config& config_;
  v1::RunRequest request_;
  int64_t shortest_ = kRandomTokensMax;
};

}  // namespace

v1::RunRequest RandomRequest(std::mt19937_64& random, const model::Gpt2Config& config) {
  return Generator(random, config).Make();
}

}  // namespace scalpel::test
