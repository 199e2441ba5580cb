#include "server/engine/cone.h"

#include <algorithm>
#include <set>

#include "server/spec/sites.h"

namespace scalpel::engine {
namespace {

using model::CleanState;
using model::Site;
using model::Stop;

// A place where a row is looked at or edited.
struct Use {
  Stop stop;
  int64_t first;  // the first position there
  bool edit;
};

// The uses of every row of a plan.
class Uses {
 public:
  Uses(const spec::Plan& plan, const model::Gpt2Config& config)
      : plan_(plan), n_layer_(static_cast<int32_t>(config.n_layer)), rows_(plan.rows.size()) {
    for (const auto& [key, site] : plan.sites) AddSite(key.first, key.second, site);
    AddOutputs();
    for (auto& row : rows_) {
      std::stable_sort(row.begin(), row.end(),
                       [](const Use& a, const Use& b) { return a.stop < b.stop; });
    }
  }

  // Ascending.
  const std::vector<Use>& operator[](size_t row) const { return rows_[row]; }

 private:
  Stop StopAt(int32_t layer, Site site) const {
    return {layer == model::kNoLayer && site >= Site::kLnFIn ? n_layer_ : layer, site};
  }

  void Add(int32_t row, int32_t layer, Site site, const spec::Region& region, bool edit = false) {
    const int axis = spec::PositionAxis(spec::FindSite(spec::ToProto(site))->facts);
    const int64_t first = region.axis(axis).min();
    rows_[row].push_back({StopAt(layer, site), first, edit});
  }

  void AddSite(int32_t layer, Site site, const spec::SitePlan& plan) {
    for (const spec::Step& step : plan.steps) {
      const v1::Intervention& intervention = plan_.request.interventions(step.intervention);
      Add(step.row, layer, site, *step.target, /*edit=*/true);
      if (intervention.has_mean()) Add(step.row, layer, site, *step.source);
      if (intervention.has_patch()) Add(step.source_row, step.source_layer, site, *step.source);
    }
    for (const auto* list :
         {&plan.probes_before, &plan.probes_after, &plan.captures_before, &plan.captures_after}) {
      for (const spec::Observation& observation : *list) {
        Add(observation.row, layer, site, *observation.region);
        if (observation.clean_row) Add(*observation.clean_row, layer, site, *observation.region);
      }
    }
  }

  void AddOutputs() {
    const v1::RunRequest& request = plan_.request;
    const auto whole = [&](int32_t layer, Site site) {
      for (const spec::LengthGroup& group : plan_.groups) {
        for (const int32_t row : group.rows)
          rows_[row].push_back({StopAt(layer, site), 0, /*edit=*/false});
      }
    };
    for (int32_t layer = 0; layer < n_layer_; ++layer) {
      if (plan_.block_outputs[layer] && request.output_attentions()) whole(layer, Site::kPattern);
      if (plan_.block_outputs[layer] || request.output_hidden_states())
        whole(layer, Site::kResidPost);
    }
    if (request.output_hidden_states()) {
      whole(0, Site::kResidPre);
      whole(model::kNoLayer, Site::kLnFOut);
    }
    for (size_t row = 0; row < rows_.size(); ++row) {
      const std::vector<int64_t>& positions = plan_.logit_positions[row];
      if (!positions.empty())
        rows_[row].push_back({{n_layer_, Site::kLogits},
                              *std::min_element(positions.begin(), positions.end()),
                              /*edit=*/false});
    }
  }

  const spec::Plan& plan_;
  const int32_t n_layer_;
  std::vector<std::vector<Use>> rows_;
};

// How many layers lie wholly before a row's first edit.
int32_t CleanLayers(const std::vector<Use>& uses, int32_t n_layer) {
  for (const Use& use : uses) {
    if (!use.edit) continue;
    if (use.stop.layer == model::kNoLayer) return 0;
    return use.stop.layer + (use.stop.site == Site::kResidPost ? 1 : 0);
  }
  return n_layer;
}

// What a clean state of so many tokens and layers takes.
int64_t CleanBytes(const model::Gpt2Config& config, int64_t tokens, int32_t layers) {
  const int64_t per_layer = 4 * config.d_model;  // its input, keys, values and z
  return (layers * per_layer + config.d_model) * tokens * static_cast<int64_t>(sizeof(float));
}

// Sets where the row enters, given what is known of its clean run.
void SetEntrance(const std::vector<Use>& uses, int32_t n_layer, model::Row& row) {
  const int64_t length = static_cast<int64_t>(row.tokens.size());
  const int64_t known = row.clean == nullptr ? 0 : row.clean->length();
  const int32_t depth = row.clean == nullptr ? 0 : row.clean->depth();
  if (known < length || depth == 0) {  // no layer of all positions
    row.stops.push_back({model::kNoLayer, Site::kEmbed});
    if (known >= length || depth < n_layer) row.clean = nullptr;
  } else {
    for (const Use& use : uses) {
      const int32_t layer = use.stop.layer == n_layer ? model::kNoLayer : use.stop.layer;
      const bool there =
          !use.edit && model::CleanValue(*row.clean, use.stop.site, layer, length).defined();
      if (!there && (row.stops.empty() || row.stops.back() < use.stop))
        row.stops.push_back(use.stop);
    }
    const Stop end_of_known = {depth, Site::kResidPre};
    if (depth < n_layer && end_of_known < row.last) {
      row.stops.insert(std::lower_bound(row.stops.begin(), row.stops.end(), end_of_known),
                       end_of_known);
    }
  }
  // Positions before the first that is used need the clean run's keys and values in every layer.
  if (row.clean == nullptr || depth < n_layer) return;
  row.first = known < length ? known : length - 1;
  const auto enters = row.stops.empty() ? model::Entrance{n_layer, model::Door::kEnd}
                                        : model::EntranceOf(row.stops.front());
  for (const Use& use : uses) {
    if (model::EntranceOf(use.stop) >= enters) row.first = std::min(row.first, use.first);
  }
}

// Behind the last block's keys and values, positions are needed from the first on that is used
// there.
void SetReadFirst(const std::vector<Use>& uses, int32_t n_layer, model::Row& row) {
  row.read_first = row.first;
  if (row.record_layers == n_layer) return;
  int64_t first = static_cast<int64_t>(row.tokens.size()) - 1;
  for (const Use& use : uses) {
    if (use.stop >= Stop{n_layer - 1, Site::kAttnScores}) first = std::min(first, use.first);
  }
  row.read_first = std::max(row.first, first);
}

}  // namespace

std::vector<model::Row> Cones(const spec::Plan& plan, const model::Gpt2Config& config,
                              absl::Span<const std::shared_ptr<const CleanState>> clean,
                              int64_t record_bytes_max) {
  const int32_t n_layer = static_cast<int32_t>(config.n_layer);
  const Uses uses(plan, config);
  std::set<int32_t> runs_clean;  // prompts: another row is their clean run
  for (const spec::PlanRow& row : plan.rows) {
    if (row.clean) runs_clean.insert(row.prompt);
  }
  std::vector<model::Row> rows(plan.rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    model::Row& row = rows[i];
    row.tokens = plan.tokens[i];
    row.clean = clean[i];
    row.logit_positions = plan.logit_positions[i];
    if (uses[i].empty()) continue;
    row.last = uses[i].back().stop;
    SetEntrance(uses[i], n_layer, row);
    const int32_t computed = std::min(row.last.layer + 1, n_layer);
    const int32_t layers = std::min(computed, CleanLayers(uses[i], n_layer));
    const bool whole =
        row.clean != nullptr && row.clean->length() >= static_cast<int64_t>(row.tokens.size());
    const int64_t bytes = CleanBytes(config, static_cast<int64_t>(row.tokens.size()), layers);
    if (bytes <= record_bytes_max && layers > (whole ? row.clean->depth() : 0) &&
        (plan.rows[i].clean || !runs_clean.contains(plan.rows[i].prompt))) {
      row.record_layers = layers;
      record_bytes_max -= bytes;
    }
    SetReadFirst(uses[i], n_layer, row);
  }
  return rows;
}

}  // namespace scalpel::engine
