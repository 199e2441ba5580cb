#include "server/spec/steps.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "server/spec/selection.h"

namespace scalpel::spec {
namespace {

// The positions in [first, tokens.size()) that are meant, each once. What lies outside the sequence
// is left out, since the sequence grows; and so two indices may come to name one position.
std::vector<int64_t> Those(const v1::Positions& said, absl::Span<const int32_t> tokens,
                           int64_t first) {
  const auto length = static_cast<int64_t>(tokens.size());
  std::vector<int64_t> those;
  absl::flat_hash_set<int64_t> seen;
  const auto take = [&](int64_t position) {
    if (position >= first && position < length && seen.insert(position).second)
      those.push_back(position);
  };
  switch (said.kind_case()) {
    case v1::Positions::kIndices:
      for (const int64_t index : said.indices().values()) take(FromStart(index, length));
      break;
    case v1::Positions::kRange: {
      const v1::Range& range = said.range();
      const int64_t step = std::min(range.has_step() ? range.step() : 1, length + 1);
      const int64_t start = FromStart(range.start(), length);
      const int64_t end =
          std::min(range.has_end() ? FromStart(range.end(), length) : length, length);
      if (step < 1 || start < 0) break;
      // The first at or behind `first`, so that a late step of a long sequence takes no time.
      const int64_t skipped = start < first ? (first - start + step - 1) / step : 0;
      for (int64_t at = start + skipped * step; at < end; at += step) take(at);
      break;
    }
    case v1::Positions::kTokens:
      for (int64_t at = first; at < length; ++at) {
        const auto& ids = said.tokens().ids();
        if (std::find(ids.begin(), ids.end(), tokens[at]) != ids.end()) take(at);
      }
      break;
    case v1::Positions::KIND_NOT_SET:
      break;
  }
  return those;
}

void SetIndices(const std::vector<int64_t>& those, v1::Positions* positions) {
  positions->mutable_indices()->mutable_values()->Assign(those.begin(), those.end());
}

// What a place says of positions is said of the patch's source too, unless the patch says
// otherwise: there it is resolved again, and -1 is the source's last. So it is kept before it is
// resolved here. A stream's own prompt is read as it was before it grew.
void ResolveSource(const v1::Selection& where, const StepView& view, v1::Patch* patch) {
  if (!patch->has_positions() && where.has_positions())
    *patch->mutable_positions() = where.positions();
  if (!patch->has_key_positions() && where.has_key_positions())
    *patch->mutable_key_positions() = where.key_positions();
  if (patch->clean_prompt() != view.prompt || view.step == 0) return;
  const auto prompt = view.tokens.first(view.tokens.size() - view.step);
  if (patch->has_positions())
    SetIndices(Those(patch->positions(), prompt, 0), patch->mutable_positions());
  if (patch->has_key_positions())
    SetIndices(Those(patch->key_positions(), prompt, 0), patch->mutable_key_positions());
}

}  // namespace

bool SelectsStep(const v1::Selection& where, int32_t step) {
  const v1::Range& steps = where.steps();
  const int64_t distance = steps.has_step() ? steps.step() : 1;
  return step >= steps.start() && (!steps.has_end() || step < steps.end()) &&
         (step - steps.start()) % distance == 0;
}

bool NarrowSelection(v1::Selection* where, const StepView& view) {
  if (!SelectsStep(*where, view.step)) return false;
  where->clear_steps();
  std::vector<int64_t> queries;
  if (where->has_positions()) {
    queries = Those(where->positions(), view.tokens, view.first);
  } else if (view.first > 0) {
    for (int64_t at = view.first; at < static_cast<int64_t>(view.tokens.size()); ++at)
      queries.push_back(at);
  }
  if (where->has_positions() || view.first > 0) {
    if (queries.empty()) return false;
    SetIndices(queries, where->mutable_positions());
  }
  if (!where->has_key_positions()) return true;
  const std::vector<int64_t> keys = Those(where->key_positions(), view.tokens, 0);
  if (keys.empty()) return false;
  SetIndices(keys, where->mutable_key_positions());
  // Only pairs with key <= query are anything.
  const int64_t last = queries.empty() ? static_cast<int64_t>(view.tokens.size()) - 1
                                       : *std::max_element(queries.begin(), queries.end());
  return *std::min_element(keys.begin(), keys.end()) <= last;
}

bool NarrowIntervention(v1::Intervention* intervention, const StepView& view) {
  v1::Selection* where = intervention->mutable_place()->mutable_where();
  if (intervention->has_patch()) ResolveSource(*where, view, intervention->mutable_patch());
  if (intervention->mean().has_over()) {
    v1::Positions* over = intervention->mutable_mean()->mutable_over();
    const std::vector<int64_t> those = Those(*over, view.tokens, 0);
    if (those.empty()) return false;
    SetIndices(those, over);
  }
  if (intervention->knockout().pairs().empty()) return NarrowSelection(where, view);
  // With pairs, the place names no positions: the pairs are what is narrowed.
  if (!SelectsStep(*where, view.step)) return false;
  where->clear_steps();
  const auto length = static_cast<int64_t>(view.tokens.size());
  auto* pairs = intervention->mutable_knockout()->mutable_pairs();
  pairs->erase(std::remove_if(pairs->begin(), pairs->end(),
                              [&](const v1::QueryKey& pair) {
                                const int64_t query = FromStart(pair.query(), length);
                                const int64_t key = FromStart(pair.key(), length);
                                return query < view.first || query >= length || key < 0 ||
                                       key > query;
                              }),
               pairs->end());
  return !pairs->empty();
}

}  // namespace scalpel::spec
