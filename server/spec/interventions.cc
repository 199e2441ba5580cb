#include "server/spec/interventions.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/spec/weight.h"

namespace scalpel::spec {
namespace {

std::string OperationName(const v1::Intervention& intervention) {
  const auto* field =
      v1::Intervention::descriptor()->FindFieldByNumber(intervention.operation_case());
  return field == nullptr ? "" : std::string(field->name());
}

// Whether the operation makes sense at the site at all.
bool CheckSite(Compilation& c, const InterventionItem& item, const ResolvedPlace& place) {
  const SiteEntry& site = *place.site;
  const std::string site_field = absl::StrCat(item.field, ".place.site");
  const auto refuse = [&](absl::string_view why) {
    c.violations.Add(site_field, absl::StrCat(item.operation, " at ", site.name, ": ", why));
    return false;
  };
  if (!site.facts.editable()) return refuse("this site can only be observed");
  if (place.observe_only) {
    c.violations.Add(absl::StrCat(item.field, ".place.path"),
                     absl::StrCat("what is read there is ", site.name, ", but an edit of ",
                                  site.name, " changes more than one there would; edit at ",
                                  site.name, " if that is meant"));
    return false;
  }
  if (item.spec->has_knockout() && site.site != v1::SITE_ATTN_SCORES)
    return refuse("a knockout is made at attn_scores");
  if (item.spec->has_project_out() && IsAttention(site.facts))
    return refuse("there is no unit axis for a direction");
  if (item.spec->has_mean() && site.site == v1::SITE_ATTN_SCORES)
    return refuse("masked scores have no mean; use pattern");
  return true;
}

// What a mean averages over: the target's heads and units at other positions.
std::shared_ptr<const Region> MeanRegion(Compilation& c, const InterventionItem& item,
                                         const SiteEntry& site, const Region& target,
                                         int32_t prompt) {
  const v1::Mean& mean = item.spec->mean();
  auto over = ResolvePositions(mean.has_over() ? &mean.over() : nullptr, c.prompts[prompt],
                               absl::StrCat(item.operation_field, ".over"), c.violations);
  if (!over) return nullptr;
  std::vector<IndexSet> axes;
  for (int i = 0; i < target.rank(); ++i) axes.push_back(target.axis(i));
  axes[PositionAxis(site.facts)] = over->Ascending();  // a mean is of a set
  return std::make_shared<const Region>(std::move(axes));
}

// Adds what an operation reads besides the target, in a step that is made for `layer`; false after
// a violation. This is where an operation's sources are known; nothing behind Compile asks.
bool AddSource(Compilation& c, const InterventionItem& item, const SiteEntry& site, int32_t layer,
               Step& step) {
  if (item.spec->has_patch()) return AddPatchSource(c, item, site, layer, step);
  if (item.spec->has_mean()) step.source->layer = layer;
  return true;
}

// The prompts of a place in the order of their steps. A prompt that the patch reads comes last, so
// that the others read it as it stands when the intervention applies, whatever the list's order.
std::vector<int32_t> InOrderOfSteps(const InterventionItem& item, std::vector<int32_t> prompts) {
  if (item.spec->has_patch() && item.spec->patch().has_prompt()) {
    std::stable_partition(prompts.begin(), prompts.end(), [&item](int32_t prompt) {
      return prompt != item.spec->patch().prompt();
    });
  }
  return prompts;
}

// Unfolds the intervention into steps; stops at the first place that is refused, since the others
// would say the same.
void Unfold(Compilation& c, InterventionItem& item, ResolvedPlace& place) {
  if (!CountPlaces(c, static_cast<int64_t>(place.layers.size() * place.prompts.size()), item.field))
    return;
  const std::string place_field = absl::StrCat(item.field, ".place");
  for (const int32_t prompt : InOrderOfSteps(item, place.prompts)) {
    Step step{.edit = item.index,
              .row = c.RowOf(prompt),
              .target = RegionOf(c, place, item.spec->place(), prompt, place_field)};
    if (step.target == nullptr) return;
    if (item.spec->knockout().pairs_size() > 0 &&
        !AddPairs(c, item, static_cast<int64_t>(c.prompts[prompt].size()), step))
      return;
    if (!CheckOperandShape(c, item, *step.target)) return;
    if (item.spec->has_mean()) {
      const auto region = MeanRegion(c, item, *place.site, *step.target, prompt);
      if (region == nullptr) return;
      step.source = Source{step.row, model::kNoLayer, region};
    }
    for (const int32_t layer : place.layers) {
      if (!AddSource(c, item, *place.site, layer, step)) return;
      c.plan.sites[{layer, ToModel(place.site->site)}].steps.push_back(step);
    }
  }
}

// The intervention as the plan keeps it.
Edit EditOf(const InterventionItem& item) {
  Edit edit{item.spec->name(), *item.spec, item.operand,
            item.spec->has_noise() ? kNoiseNs : kEditNs};
  edit.intervention.clear_name();
  edit.intervention.clear_place();
  if (edit.intervention.has_add()) edit.intervention.mutable_add()->clear_tensor();
  if (edit.intervention.has_set()) edit.intervention.mutable_set()->clear_tensor();
  if (edit.intervention.has_project_out())
    edit.intervention.mutable_project_out()->clear_direction();
  return edit;
}

InterventionItem ItemOf(Compilation& c, int index) {
  InterventionItem item{.index = index,
                        .spec = c.request.mutable_interventions(index),
                        .field = absl::StrCat(c.prefix, "interventions[", index, "]")};
  item.operation = OperationName(*item.spec);
  item.operation_field = absl::StrCat(item.field, ".", item.operation);
  return item;
}

// Everything but the regions: the name, the operation's own fields, and the place; nullopt after a
// violation there.
std::optional<ResolvedPlace> Normalize(Compilation& c, InterventionItem& item,
                                       std::unordered_set<std::string>& names) {
  ResolveName(c, item.spec->mutable_name(), absl::StrCat(item.operation, "[", item.index, "]"),
              names, absl::StrCat(item.field, ".name"));
  CheckOperation(c, item);
  auto place = ResolvePlace(c, item.spec->mutable_place(), absl::StrCat(item.field, ".place"));
  if (item.operation.empty() || !place || !CheckSite(c, item, *place)) return std::nullopt;
  return place;
}

}  // namespace

void NormalizeInterventions(Compilation& c) {
  std::unordered_set<std::string> names;
  for (int i = 0; i < c.request.interventions_size() && c.wanted().ok(); ++i) {
    InterventionItem item = ItemOf(c, i);
    Normalize(c, item, names);
  }
}

void CompileInterventions(Compilation& c) {
  std::unordered_set<std::string> names;
  c.plan.edits.resize(c.request.interventions_size());
  for (int i = 0; i < c.request.interventions_size() && c.wanted().ok(); ++i) {
    if (!c.Acts(i)) {
      c.plan.edits[i].name = c.request.interventions(i).name();
      continue;
    }
    InterventionItem item = ItemOf(c, i);
    auto place = Normalize(c, item, names);
    if (!place) continue;
    DropLeadingAxes(place->site->facts.axes_size(), item.operand);
    Unfold(c, item, *place);
    c.plan.edits[i] = EditOf(item);
  }
}

}  // namespace scalpel::spec
