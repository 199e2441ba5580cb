#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/spec/interventions.h"

namespace scalpel::spec {
namespace {

// What a patch reads along one axis: what it says itself, else what the place says, resolved again
// in the source, and as many indices as are written. nullopt after a violation at `field`.
std::optional<IndexSet> PatchPositions(Compilation& c, const v1::Positions* own,
                                       const v1::Positions* written, int64_t written_count,
                                       int32_t source_prompt, const std::string& field) {
  const auto& tokens = c.prompts[source_prompt];
  if (own != nullptr) {
    auto read = ResolvePositions(own, tokens, field, c.violations);
    if (!read || read->size() == written_count) return read;
    c.violations.Add(field, absl::StrCat("reads ", read->size(), " positions, but ", written_count,
                                         " are written; name as many"));
    return std::nullopt;
  }
  Violations unseen(1);  // their field would be the place's, which is right where it stands
  auto read = ResolvePositions(written, tokens, field, unseen);
  if (read && read->size() == written_count) return read;
  const std::string found = read ? absl::StrCat(read->size(), " positions") : "nothing";
  c.violations.Add(field,
                   absl::StrCat("what the place selects, ", written_count, " positions, is ", found,
                                " in the source, prompt ", source_prompt, " of ", tokens.size(),
                                " tokens; say here which of its positions are read"));
  return std::nullopt;
}

// The heads that a patch reads, as many as are written; nullopt after a violation.
std::optional<IndexSet> PatchHeads(Compilation& c, const InterventionItem& item,
                                   const IndexSet& written) {
  const v1::Patch& patch = item.spec->patch();
  if (patch.heads().empty()) return written;
  const std::string field = absl::StrCat(item.operation_field, ".heads");
  const auto heads = ResolveList(patch.heads(), c.facts.config.n_head, field, c.violations);
  if (!heads) return std::nullopt;
  if (static_cast<int64_t>(heads->size()) != written.size()) {
    c.violations.Add(field, absl::StrCat("reads ", heads->size(), " heads, but ", written.size(),
                                         " are written; name as many"));
    return std::nullopt;
  }
  return IndexSet::List({heads->begin(), heads->end()});
}

// Refuses fields of the patch that the site has no axis for.
bool CheckPatchAxes(Compilation& c, const InterventionItem& item, const SiteEntry& site) {
  const v1::Patch& patch = item.spec->patch();
  const auto refuse = [&](bool given, v1::Axis axis, absl::string_view name) {
    if (!given || AxisIndex(site.facts, axis)) return false;
    c.violations.Add(absl::StrCat(item.operation_field, ".", name),
                     absl::StrCat(site.name, " has no such axis; leave the field out"));
    return true;
  };
  const bool keys = refuse(patch.has_key_positions(), v1::AXIS_KEY, "key_positions");
  const bool heads = refuse(patch.heads_size() > 0, v1::AXIS_HEAD, "heads");
  return !keys && !heads;
}

// Where a patch reads: the target's place in the source prompt, with what the patch maps elsewhere.
std::shared_ptr<const Region> PatchRegion(Compilation& c, const InterventionItem& item,
                                          const SiteEntry& site, const Region& target,
                                          int32_t source_prompt) {
  const v1::Patch& patch = item.spec->patch();
  const v1::Selection& where = item.spec->place().where();
  if (!CheckPatchAxes(c, item, site)) return nullptr;
  std::vector<IndexSet> axes;
  for (int i = 0; i < target.rank(); ++i) {
    const IndexSet& written = target.axis(i);
    std::optional<IndexSet> read = written;
    switch (site.facts.axes(i)) {
      case v1::AXIS_POSITION:
      case v1::AXIS_QUERY:
        read = PatchPositions(c, patch.has_positions() ? &patch.positions() : nullptr,
                              where.has_positions() ? &where.positions() : nullptr, written.size(),
                              source_prompt, absl::StrCat(item.operation_field, ".positions"));
        break;
      case v1::AXIS_KEY:
        read = PatchPositions(c, patch.has_key_positions() ? &patch.key_positions() : nullptr,
                              where.has_key_positions() ? &where.key_positions() : nullptr,
                              written.size(), source_prompt,
                              absl::StrCat(item.operation_field, ".key_positions"));
        break;
      case v1::AXIS_HEAD:
        read = PatchHeads(c, item, written);
        break;
      default:  // units are the written ones
        break;
    }
    if (!read) return nullptr;
    axes.push_back(*std::move(read));
  }
  return std::make_shared<const Region>(std::move(axes));
}

// The row that a patch reads; nullopt after a violation, or where its prompt was refused.
std::optional<int32_t> PatchSource(Compilation& c, const InterventionItem& item, int32_t& prompt) {
  const v1::Patch& patch = item.spec->patch();
  if (patch.source_case() == v1::Patch::SOURCE_NOT_SET) {
    c.violations.Add(item.operation_field, "has no source; give `prompt` or `clean_prompt`");
    return std::nullopt;
  }
  const bool clean = patch.source_case() == v1::Patch::kCleanPrompt;
  prompt = clean ? patch.clean_prompt() : patch.prompt();
  const auto prompts =
      clean ? static_cast<int32_t>(c.prompts.size()) : c.edited_prompts();  // that can be read
  if (prompt < 0 || prompt >= prompts) {
    c.violations.Add(absl::StrCat(item.operation_field, clean ? ".clean_prompt" : ".prompt"),
                     absl::StrCat(prompt, " is outside [0, ", prompts, ")"));
    return std::nullopt;
  }
  if (c.prompts[prompt].empty()) return std::nullopt;
  return clean ? CleanRow(c, prompt) : c.RowOf(prompt);
}

// The layer that a patch into `layer` reads; nullopt after a violation.
std::optional<int32_t> PatchLayer(Compilation& c, const InterventionItem& item, int32_t layer) {
  const v1::Patch& patch = item.spec->patch();
  if (!patch.has_layer()) return layer;
  const std::string field = absl::StrCat(item.operation_field, ".layer");
  if (layer == model::kNoLayer) {
    c.violations.Add(field, "the site has no layers; leave the field out");
    return std::nullopt;
  }
  const int32_t n_layer = static_cast<int32_t>(c.facts.config.n_layer);
  const int32_t read = FromStart(patch.layer(), n_layer);
  if (read < 0 || read > layer) {
    c.violations.Add(field, absl::StrCat(patch.layer(), " is outside [0, ", layer,
                                         "]: a patch reads the written layer or an earlier one"));
    return std::nullopt;
  }
  return read;
}

// Whether two regions of a site are the same entries in the same order.
bool SameEntries(const Region& a, const Region& b) {
  for (int i = 0; i < a.rank(); ++i) {
    if (a.axis(i).ToVector() != b.axis(i).ToVector()) return false;
  }
  return true;
}

}  // namespace

bool AddPatchSource(Compilation& c, const InterventionItem& item, const SiteEntry& site,
                    int32_t layer, Step& step) {
  int32_t source_prompt = 0;
  const auto row = PatchSource(c, item, source_prompt);
  const auto source_layer = PatchLayer(c, item, layer);
  if (!row || !source_layer) return false;
  // Every layer of the prompt reads the same part.
  const auto region =
      step.source ? step.source->region : PatchRegion(c, item, site, *step.target, source_prompt);
  if (region == nullptr) return false;
  step.source = Source{*row, *source_layer, region};
  if (*row == step.row && *source_layer == layer && SameEntries(*region, *step.target)) {
    c.violations.Add(
        item.operation_field,
        "reads the values that it would write; select other prompts in `place.where.prompts`");
    return false;
  }
  if (*source_layer != layer) {
    auto& kept = c.plan.sites[{*source_layer, ToModel(site.site)}].kept_rows;
    if (std::find(kept.begin(), kept.end(), *row) == kept.end()) kept.push_back(*row);
  }
  return true;
}

}  // namespace scalpel::spec
