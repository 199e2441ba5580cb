#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/kernels/moments.h"
#include "server/spec/compile.h"
#include "server/spec/ops.h"
#include "server/spec/weight.h"

namespace scalpel::spec {
namespace {

// One intervention while it is compiled.
struct Item {
  int32_t index;
  v1::Intervention* spec;
  std::string field;                 // `interventions[2]`, behind the prefix
  std::string operation = {};        // `scale`
  std::string operation_field = {};  // `interventions[2].scale`
  at::Tensor operand = {};
  // Of a knockout: its pairs, and the region that holds them, by the prompts' length. Prompts of
  // one length share them.
  struct Pairs {
    std::shared_ptr<const Region> target;
    std::shared_ptr<const std::vector<AttentionPair>> pairs;
  };
  std::map<int64_t, Pairs> pairs_by_length = {};
};

// A list of pairs is long where the request's is: so many of them count as a place.
constexpr int64_t kPairsOfPlace = 64;

std::string OperationName(const v1::Intervention& intervention) {
  const auto* field =
      v1::Intervention::descriptor()->FindFieldByNumber(intervention.operation_case());
  return field == nullptr ? "" : field->name();
}

void CheckNoise(Compilation& c, v1::Noise* noise, absl::string_view field) {
  if (!noise->has_mean()) noise->set_mean(0);
  if (!noise->has_std()) noise->set_std(1);
  if (!noise->has_seed()) noise->set_seed(c.request.seed());
  CheckNumber(c, noise->mean(), absl::StrCat(field, ".mean"));
  CheckNumber(c, noise->std(), absl::StrCat(field, ".std"));
  if (noise->std() < 0)
    c.violations.Add(absl::StrCat(field, ".std"), absl::StrCat(noise->std(), " is below 0"));
  if (noise->mode() == v1::NOISE_MODE_UNSPECIFIED) noise->set_mode(v1::NOISE_MODE_REPLACE);
  if (!v1::NoiseMode_IsValid(noise->mode())) {
    c.violations.Add(absl::StrCat(field, ".mode"),
                     absl::StrCat(static_cast<int>(noise->mode()), " is no mode"));
  }
}

void CheckClamp(Compilation& c, const v1::Clamp& clamp, absl::string_view field) {
  if (!clamp.has_min() && !clamp.has_max())
    c.violations.Add(field, "has no bound; give `min`, `max` or both");
  if (clamp.has_min()) CheckNumber(c, clamp.min(), absl::StrCat(field, ".min"));
  if (clamp.has_max()) CheckNumber(c, clamp.max(), absl::StrCat(field, ".max"));
  if (clamp.has_min() && clamp.has_max() && clamp.min() > clamp.max()) {
    c.violations.Add(absl::StrCat(field, ".min"),
                     absl::StrCat(clamp.min(), " is above max, ", clamp.max()));
  }
}

// Adds and sets share their operand: `constant` or `tensor`.
template <typename Operation>
at::Tensor CheckValue(Compilation& c, const Operation& operation, absl::string_view field) {
  switch (operation.value_case()) {
    case Operation::kConstant:
      CheckNumber(c, operation.constant(), absl::StrCat(field, ".constant"));
      return {};
    case Operation::kTensor:
      return DecodeTensor(c, operation.tensor(), absl::StrCat(field, ".tensor"));
    case Operation::VALUE_NOT_SET:
      c.violations.Add(field, "has no value; give `constant` or `tensor`");
      return {};
  }
  return {};
}

// Axes of length 1 in front of those that the site has say nothing.
void DropLeadingAxes(int64_t rank, at::Tensor& operand) {
  while (operand.defined() && operand.dim() > rank && operand.size(0) == 1)
    operand = operand.squeeze(0);
}

at::Tensor CheckProjectOut(Compilation& c, v1::ProjectOut* project_out, absl::string_view field) {
  if (!project_out->has_factor()) project_out->set_factor(0);
  CheckNumber(c, project_out->factor(), absl::StrCat(field, ".factor"));
  const std::string direction = absl::StrCat(field, ".direction");
  if (!project_out->has_direction()) {
    c.violations.Add(direction, "is required");
    return {};
  }
  at::Tensor decoded = DecodeTensor(c, project_out->direction(), direction);
  DropLeadingAxes(1, decoded);
  if (decoded.defined() && decoded.dim() != 1) {
    c.violations.Add(absl::StrCat(direction, ".shape"),
                     "has more than one axis; a direction is a vector");
    return {};
  }
  if (decoded.defined() &&
      !(kernels::SumOfSquares(decoded.const_data_ptr<float>(), decoded.numel()) > 0)) {
    c.violations.Add(direction, "has no length; give a vector that is not zero");
    return {};
  }
  return decoded;
}

// Checks the parameters of the operation and fills in its defaults.
void CheckParameters(Compilation& c, Item& item) {
  const std::string& field = item.operation_field;
  switch (item.spec->operation_case()) {
    case v1::Intervention::kZero:
    case v1::Intervention::kMean:
    case v1::Intervention::kPatch:
    case v1::Intervention::kKnockout:
      break;  // nothing but places, checked where they are resolved
    case v1::Intervention::kScale:
      if (!item.spec->scale().has_factor())
        c.violations.Add(absl::StrCat(field, ".factor"), "is required");
      CheckNumber(c, item.spec->scale().factor(), absl::StrCat(field, ".factor"));
      break;
    case v1::Intervention::kAdd: {
      v1::Add* add = item.spec->mutable_add();
      if (!add->has_coefficient()) add->set_coefficient(1);
      CheckNumber(c, add->coefficient(), absl::StrCat(field, ".coefficient"));
      item.operand = CheckValue(c, *add, field);
      break;
    }
    case v1::Intervention::kSet:
      item.operand = CheckValue(c, item.spec->set(), field);
      break;
    case v1::Intervention::kNoise:
      CheckNoise(c, item.spec->mutable_noise(), field);
      break;
    case v1::Intervention::kClamp:
      CheckClamp(c, item.spec->clamp(), field);
      break;
    case v1::Intervention::kProjectOut:
      item.operand = CheckProjectOut(c, item.spec->mutable_project_out(), field);
      break;
    case v1::Intervention::kFreeze:
    case v1::Intervention::kSubspace:
    case v1::Intervention::kPermute:
      c.violations.AddUnimplemented(
          field,
          absl::StrCat(item.operation, " is not implemented; GetModel lists the operations"));
      break;
    case v1::Intervention::OPERATION_NOT_SET:
      c.violations.Add(item.field, "has no operation; GetModel lists the operations");
      break;
  }
  if (item.spec->has_mean() && item.spec->mean().reference_prompts_size() > 0) {
    c.violations.AddUnimplemented(absl::StrCat(field, ".reference_prompts"),
                                  "is not implemented; average over positions with `over`");
  }
}

// Whether the operation makes sense at the site at all.
bool CheckSite(Compilation& c, const Item& item, const ResolvedPlace& place) {
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

bool CheckOperandShape(Compilation& c, const Item& item, const Region& target) {
  if (!item.operand.defined()) return true;
  const std::vector<int64_t> shape = target.shape();
  const auto refuse = [&](absl::string_view name, absl::string_view why) {
    c.violations.Add(absl::StrCat(item.operation_field, ".", name),
                     absl::StrCat("shape [", absl::StrJoin(item.operand.sizes(), ", "), "] ", why,
                                  " [", absl::StrJoin(shape, ", "), "]"));
    return false;
  };
  if (item.spec->has_project_out()) {
    return item.operand.size(0) == shape.back() ||
           refuse("direction", "is not as long as the last axis of the selected part");
  }
  bool fits = item.operand.dim() <= static_cast<int64_t>(shape.size());
  for (int64_t i = 1; fits && i <= item.operand.dim(); ++i) {
    const int64_t size = item.operand.size(-i);
    fits = size == 1 || size == shape[shape.size() - i];
  }
  return fits || refuse("tensor", "does not broadcast to the selected part");
}

// The (query, key) pairs of a knockout in a prompt of `length` tokens, each once; nullopt after a
// violation.
std::optional<std::vector<AttentionPair>> ResolvePairs(Compilation& c, const Item& item,
                                                       int64_t length) {
  const std::string field = absl::StrCat(item.operation_field, ".pairs");
  const auto& pairs = item.spec->knockout().pairs();
  std::vector<AttentionPair> resolved;
  for (int i = 0; i < pairs.size(); ++i) {
    const int64_t query = FromStart(pairs[i].query(), length),
                  key = FromStart(pairs[i].key(), length);
    if (query < 0 || query >= length || key < 0 || key > query) {
      c.violations.Add(absl::StrCat(field, "[", i, "]"),
                       absl::StrCat("(", pairs[i].query(), ", ", pairs[i].key(),
                                    ") is not within 0 <= key <= query < ", length));
      return std::nullopt;
    }
    resolved.push_back({query, key});
  }
  std::sort(resolved.begin(), resolved.end());
  resolved.erase(std::unique(resolved.begin(), resolved.end()), resolved.end());
  resolved.shrink_to_fit();
  return resolved;
}

// Adds the pairs of a knockout to `step`, and lets its target, which holds every pair, hold just
// them; false after a violation.
bool AddPairs(Compilation& c, Item& item, int64_t length, Step& step) {
  const auto& where = item.spec->place().where();
  if (where.has_positions() || where.has_key_positions()) {
    c.violations.Add(absl::StrCat(item.operation_field, ".pairs"),
                     "is given together with positions in `where`; give one of them");
    return false;
  }
  Item::Pairs& known = item.pairs_by_length[length];
  if (known.pairs == nullptr) {
    auto pairs = ResolvePairs(c, item, length);
    if (!pairs || !CountPlaces(c, static_cast<int64_t>(pairs->size()) / kPairsOfPlace, item.field))
      return false;
    std::set<int64_t> queries, keys;
    for (const AttentionPair& pair : *pairs) {
      queries.insert(pair.query);
      keys.insert(pair.key);
    }
    known.target = std::make_shared<const Region>(std::vector<IndexSet>{
        step.target->axis(0), IndexSet::List({queries.begin(), queries.end()}),
        IndexSet::List({keys.begin(), keys.end()})});
    known.pairs = std::make_shared<const std::vector<AttentionPair>>(*std::move(pairs));
  }
  step.target = known.target;
  step.pairs = known.pairs;
  return true;
}

// What a mean averages over: the target's heads and units at other positions.
std::shared_ptr<const Region> MeanRegion(Compilation& c, const Item& item, const SiteEntry& site,
                                         const Region& target, int32_t prompt) {
  const v1::Mean& mean = item.spec->mean();
  auto over = ResolvePositions(mean.has_over() ? &mean.over() : nullptr, c.prompts[prompt],
                               absl::StrCat(item.operation_field, ".over"), c.violations);
  if (!over) return nullptr;
  std::vector<IndexSet> axes;
  for (int i = 0; i < target.rank(); ++i) axes.push_back(target.axis(i));
  axes[PositionAxis(site.facts)] = over->Ascending();  // a mean is of a set
  return std::make_shared<const Region>(std::move(axes));
}

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
std::optional<IndexSet> PatchHeads(Compilation& c, const Item& item, const IndexSet& written) {
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
bool CheckPatchAxes(Compilation& c, const Item& item, const SiteEntry& site) {
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
std::shared_ptr<const Region> PatchRegion(Compilation& c, const Item& item, const SiteEntry& site,
                                          const Region& target, int32_t source_prompt) {
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
std::optional<int32_t> PatchSource(Compilation& c, const Item& item, int32_t& prompt) {
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
  return clean ? CleanRow(c, prompt) : prompt;
}

// The layer that a patch into `layer` reads; nullopt after a violation.
std::optional<int32_t> PatchLayer(Compilation& c, const Item& item, int32_t layer) {
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

// Adds the patch's source to `step`; false after a violation.
bool AddPatchSource(Compilation& c, const Item& item, const SiteEntry& site, int32_t layer,
                    Step& step) {
  int32_t source_prompt = 0;
  const auto row = PatchSource(c, item, source_prompt);
  const auto source_layer = PatchLayer(c, item, layer);
  if (!row || !source_layer) return false;
  const auto region = PatchRegion(c, item, site, *step.target, source_prompt);
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

// Adds what an operation reads besides the target, in a step that is made for `layer`; false after
// a violation. This is where an operation's sources are known; nothing behind Compile asks.
bool AddSource(Compilation& c, const Item& item, const SiteEntry& site, int32_t layer, Step& step) {
  if (item.spec->has_patch()) return AddPatchSource(c, item, site, layer, step);
  if (item.spec->has_mean()) step.source->layer = layer;
  return true;
}

// The prompts of a place in the order of their steps. A prompt that the patch reads comes last, so
// that the others read it as it stands when the intervention applies, whatever the list's order.
std::vector<int32_t> InOrderOfSteps(const Item& item, std::vector<int32_t> prompts) {
  if (item.spec->has_patch() && item.spec->patch().has_prompt()) {
    std::stable_partition(prompts.begin(), prompts.end(), [&item](int32_t prompt) {
      return prompt != item.spec->patch().prompt();
    });
  }
  return prompts;
}

// Unfolds the intervention into steps; stops at the first place that is refused, since the others
// would say the same.
void Unfold(Compilation& c, Item& item, ResolvedPlace& place) {
  if (!CountPlaces(c, static_cast<int64_t>(place.layers.size() * place.prompts.size()), item.field))
    return;
  const std::string place_field = absl::StrCat(item.field, ".place");
  for (const int32_t prompt : InOrderOfSteps(item, place.prompts)) {
    Step step{.edit = item.index,
              .row = prompt,
              .target = RegionOf(c, place, item.spec->place(), prompt, place_field)};
    if (step.target == nullptr) return;
    if (item.spec->knockout().pairs_size() > 0 &&
        !AddPairs(c, item, static_cast<int64_t>(c.prompts[prompt].size()), step))
      return;
    if (!CheckOperandShape(c, item, *step.target)) return;
    if (item.spec->has_mean()) {
      const auto region = MeanRegion(c, item, *place.site, *step.target, prompt);
      if (region == nullptr) return;
      step.source = Source{prompt, model::kNoLayer, region};
    }
    for (const int32_t layer : place.layers) {
      if (!AddSource(c, item, *place.site, layer, step)) return;
      c.plan.sites[{layer, ToModel(place.site->site)}].steps.push_back(step);
    }
  }
}

// The intervention as the plan keeps it.
Edit EditOf(const Item& item) {
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

}  // namespace

void CompileInterventions(Compilation& c) {
  std::unordered_set<std::string> names;
  c.plan.edits.resize(c.request.interventions_size());
  for (int i = 0; i < c.request.interventions_size(); ++i) {
    Item item{.index = i,
              .spec = c.request.mutable_interventions(i),
              .field = absl::StrCat(c.prefix, "interventions[", i, "]")};
    item.operation = OperationName(*item.spec);
    item.operation_field = absl::StrCat(item.field, ".", item.operation);
    ResolveName(c, item.spec->mutable_name(), absl::StrCat(item.operation, "[", i, "]"), names,
                absl::StrCat(item.field, ".name"));
    CheckParameters(c, item);
    auto place = ResolvePlace(c, item.spec->mutable_place(), absl::StrCat(item.field, ".place"));
    if (!OperationImplemented(item.spec->operation_case()) || !place || !CheckSite(c, item, *place))
      continue;
    DropLeadingAxes(place->site->facts.axes_size(), item.operand);
    Unfold(c, item, *place);
    c.plan.edits[i] = EditOf(item);
  }
}

}  // namespace scalpel::spec
