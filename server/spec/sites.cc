#include "server/spec/sites.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/suggestion.h"

namespace scalpel::spec {
namespace {

constexpr char kAcceptedNames[] =
    "Use a site's own name (resid_post), TransformerLens' (blocks.3.attn.hook_k) or HuggingFace's "
    "(transformer.h.3.attn.c_attn:output): GetModel lists them";

struct SamePlace {
  v1::Site wire;
  model::Site place;
};

// In order of model::Site.
constexpr SamePlace kSamePlaces[] = {
    {v1::SITE_EMBED, model::Site::kEmbed},
    {v1::SITE_POS_EMBED, model::Site::kPosEmbed},
    {v1::SITE_RESID_PRE, model::Site::kResidPre},
    {v1::SITE_LN1_IN, model::Site::kLn1In},
    {v1::SITE_LN1_SCALE, model::Site::kLn1Scale},
    {v1::SITE_LN1_OUT, model::Site::kLn1Out},
    {v1::SITE_QKV, model::Site::kQkv},
    {v1::SITE_Q, model::Site::kQ},
    {v1::SITE_K, model::Site::kK},
    {v1::SITE_V, model::Site::kV},
    {v1::SITE_ATTN_SCORES, model::Site::kAttnScores},
    {v1::SITE_PATTERN, model::Site::kPattern},
    {v1::SITE_Z, model::Site::kZ},
    {v1::SITE_HEAD_RESULT, model::Site::kHeadResult},
    {v1::SITE_ATTN_OUT, model::Site::kAttnOut},
    {v1::SITE_RESID_MID, model::Site::kResidMid},
    {v1::SITE_LN2_IN, model::Site::kLn2In},
    {v1::SITE_LN2_SCALE, model::Site::kLn2Scale},
    {v1::SITE_LN2_OUT, model::Site::kLn2Out},
    {v1::SITE_MLP_PRE, model::Site::kMlpPre},
    {v1::SITE_MLP_POST, model::Site::kMlpPost},
    {v1::SITE_MLP_OUT, model::Site::kMlpOut},
    {v1::SITE_RESID_POST, model::Site::kResidPost},
    {v1::SITE_LN_F_IN, model::Site::kLnFIn},
    {v1::SITE_LN_F_SCALE, model::Site::kLnFScale},
    {v1::SITE_LN_F_OUT, model::Site::kLnFOut},
    {v1::SITE_LOGITS, model::Site::kLogits},
};
static_assert(std::size(kSamePlaces) == model::kSites);
static_assert(model::kSites == v1::Site_MAX, "every site of the contract, and no number twice");
static_assert([] {
  for (int32_t i = 0; i < model::kSites; ++i) {
    if (static_cast<int32_t>(kSamePlaces[i].place) != i) return false;
  }
  return true;
}());

std::vector<SiteEntry> ReadSites() {
  std::vector<SiteEntry> sites;
  const auto* enumeration = v1::Site_descriptor();
  for (int i = 0; i < enumeration->value_count(); ++i) {
    const auto* value = enumeration->value(i);
    if (value->number() == v1::SITE_UNSPECIFIED) continue;
    sites.push_back({static_cast<v1::Site>(value->number()),
                     absl::AsciiStrToLower(absl::StripPrefix(value->name(), "SITE_")),
                     value->options().GetExtension(v1::site)});
  }
  return sites;
}

// What a name without its layer stands for.
struct Named {
  const SiteEntry* site = nullptr;
  bool observe_only = false;
};

// Returns all names of all sites, without the layer.
const std::map<std::string, Named, std::less<>>& Names() {
  static const auto* names = [] {
    auto* map = new std::map<std::string, Named, std::less<>>;
    for (const SiteEntry& entry : AllSites()) {
      map->emplace(entry.name, Named{&entry});
      const auto add = [&](const std::string& alias, bool observe_only) {
        map->emplace(alias, Named{&entry, observe_only});
        map->emplace(absl::StripPrefix(alias, "transformer."), Named{&entry, observe_only});
      };
      for (const std::string& alias : entry.facts.aliases()) add(alias, false);
      for (const std::string& alias : entry.facts.observe_only_aliases()) add(alias, true);
    }
    return map;
  }();
  return *names;
}

Named FindName(absl::string_view name) {
  const auto& names = Names();
  for (const std::string& candidate :
       {std::string(name), absl::AsciiStrToLower(name), absl::StrCat(name, ":output")}) {
    if (const auto found = names.find(candidate); found != names.end()) return found->second;
  }
  return {};
}

// Removes a layer number and the `.` after it from the front of `rest`. A `:` may follow instead,
// and stays. Returns false if `rest` does not begin so.
bool TakeLayer(absl::string_view& rest, int32_t& layer) {
  size_t digits = 0;
  while (digits < rest.size() && absl::ascii_isdigit(rest[digits])) ++digits;
  if (digits == 0 || !absl::SimpleAtoi(rest.substr(0, digits), &layer)) return false;
  rest.remove_prefix(digits);
  return rest.empty() || absl::StartsWith(rest, ":") ||
         (absl::ConsumePrefix(&rest, ".") && !rest.empty());
}

// Rewrites a path of nnsight to this contract's form: drops a leading `model.`, and turns `h[5]`
// into `h.5` and `.output` into `:output`.
std::string Canonical(absl::string_view path) {
  std::string name(absl::StripPrefix(path, "model."));
  for (const absl::string_view suffix : {".output", ".input"}) {
    if (absl::EndsWith(name, suffix)) name[name.size() - suffix.size()] = ':';
  }
  const size_t open = name.find('['), close = name.find(']');
  if (open != std::string::npos && close != std::string::npos && close > open) {
    name.erase(close, 1);
    name[open] = '.';
  }
  return name;
}

// Returns `did you mean "attn.hook_k"? ` for an unknown name, or an empty string if it resembles
// none.
std::string DidYouMean(absl::string_view name) {
  std::vector<absl::string_view> known;
  for (const auto& [each, named] : Names()) known.push_back(each);
  const absl::string_view meant = Suggestion(name, known);
  return meant.empty() ? "" : absl::StrCat("did you mean \"", std::string(meant), "\"? ");
}

}  // namespace

absl::Span<const SiteEntry> AllSites() {
  static const auto* sites = new std::vector<SiteEntry>(ReadSites());
  return *sites;
}

const SiteEntry* FindSite(v1::Site site) {
  for (const SiteEntry& entry : AllSites()) {
    if (entry.site == site) return &entry;
  }
  return nullptr;
}

const SiteEntry& EntryOf(model::Site site) { return *FindSite(ToProto(site)); }

int64_t UnitSize(v1::UnitAxis axis, const model::Gpt2Config& config) {
  switch (axis) {
    case v1::UNIT_AXIS_D_MODEL:
      return config.d_model;
    case v1::UNIT_AXIS_QKV:
      return 3 * config.d_model;
    case v1::UNIT_AXIS_D_HEAD:
      return config.d_head;
    case v1::UNIT_AXIS_D_MLP:
      return config.d_mlp;
    case v1::UNIT_AXIS_VOCAB:
      return config.vocab_size;
    case v1::UNIT_AXIS_ONE:
      return 1;
    default:
      return 0;
  }
}

std::optional<int> AxisIndex(const v1::SiteFacts& facts, v1::Axis axis) {
  for (int i = 0; i < facts.axes_size(); ++i) {
    if (facts.axes(i) == axis) return i;
  }
  return std::nullopt;
}

v1::Site ToProto(model::Site site) { return kSamePlaces[static_cast<int32_t>(site)].wire; }

model::Site ToModel(v1::Site site) {
  const auto* found = std::find_if(std::begin(kSamePlaces), std::end(kSamePlaces),
                                   [site](const SamePlace& same) { return same.wire == site; });
  return found->place;
}

absl::StatusOr<SitePath> ResolvePath(absl::string_view path) {
  const std::string name = Canonical(path);
  absl::string_view rest = name;
  Named named;
  std::optional<int32_t> in_layer;
  int32_t layer = 0;
  if (absl::ConsumePrefix(&rest, "blocks.") || absl::ConsumePrefix(&rest, "transformer.h.") ||
      absl::ConsumePrefix(&rest, "h.")) {
    if (TakeLayer(rest, layer)) {
      in_layer = layer;
      named = FindName(rest);
    }
  } else if (!rest.empty()) {
    named = FindName(rest);
  }
  if (named.site == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("no site has this name; ", DidYouMean(rest), kAcceptedNames));
  }
  if (in_layer.has_value() && !named.site->facts.per_layer()) {
    return absl::InvalidArgumentError(
        absl::StrCat(named.site->name, " is in no layer; leave the layer out. ", kAcceptedNames));
  }
  return SitePath{named.site, in_layer, named.observe_only};
}

}  // namespace scalpel::spec
