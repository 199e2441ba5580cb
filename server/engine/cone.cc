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

// The uses of every row of a plan. The plan says of each step and each observation which rows it
// reads, where, and which positions: that is all there is to know here. What a step makes of them
// does not matter.
class Uses {
 public:
  Uses(const spec::Plan& plan, const model::Gpt2Config& config)
      : n_layer_(static_cast<int32_t>(config.n_layer)), rows_(plan.rows.size()) {
    for (const auto& [key, site] : plan.sites) AddSite(key.first, key.second, site);
    for (size_t row = 0; row < rows_.size(); ++row) {
      const std::vector<int64_t>& positions = plan.logit_positions[row];
      if (positions.empty()) continue;
      rows_[row].push_back({{n_layer_, Site::kLogits},
                            *std::min_element(positions.begin(), positions.end()),
                            /*edit=*/false});
    }
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
    const int axis = spec::PositionAxis(spec::EntryOf(site).facts);
    rows_[row].push_back({StopAt(layer, site), region.axis(axis).min(), edit});
  }

  void AddSite(int32_t layer, Site site, const spec::SitePlan& plan) {
    for (const spec::Step& step : plan.steps) {
      Add(step.row, layer, site, *step.target, /*edit=*/true);
      if (step.source) Add(step.source->row, step.source->layer, site, *step.source->region);
    }
    for (const auto* list : {&plan.before, &plan.after}) {
      for (const spec::Observation& observation : *list) {
        for (const int32_t row : observation.rows) Add(row, layer, site, *observation.region);
        if (observation.clean_row) Add(*observation.clean_row, layer, site, *observation.region);
      }
    }
  }

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

// Sets what the row is computed for, and from which position on.
//
// There are three cases. Nothing is known of the clean run, or not of all layers of a longer
// prompt: then the row runs from the embeddings, and once it does, it is computed until its last
// use. Its beginning is known in every layer: it runs from the embeddings too, but only the
// positions behind that beginning, which attend to the known keys and values. Or all positions are
// known, in some layers or all: then the row is computed only for the uses that the clean run does
// not answer, and the model may let it go between two of them, as long as no edit has changed a bit
// of it.
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
    // Where the known layers end, the row has to go on, to be recorded and for what comes behind.
    const Stop end_of_known = {depth, Site::kResidPre};
    if (depth < n_layer && end_of_known < row.last) {
      row.stops.insert(std::lower_bound(row.stops.begin(), row.stops.end(), end_of_known),
                       end_of_known);
    }
  }
  // Positions before the first use can be left out only where later positions find their keys and
  // values, which takes the clean run of every layer. Uses before the row enters are answered by
  // the clean run, and do not count.
  if (row.clean == nullptr || depth < n_layer) return;
  row.first = known < length ? known : length - 1;
  const auto enters = row.stops.empty() ? model::EntryPoint{n_layer, model::Door::kEnd}
                                        : model::EntryPointOf(row.stops.front());
  for (const Use& use : uses) {
    if (model::EntryPointOf(use.stop) >= enters) row.first = std::min(row.first, use.first);
  }
}

// In the last block a position's output goes nowhere but to the positions' own uses: once its keys
// and values are made, only positions from the first use on are computed further. A row that
// records the last layer needs all of them.
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
