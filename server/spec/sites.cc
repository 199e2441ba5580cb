#include "server/spec/sites.h"

#include <map>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace scalpel::spec {
namespace {

#define SCALPEL_SAME_SITE(proto, cpp) \
  static_assert(static_cast<int>(v1::SITE_##proto) == static_cast<int>(model::Site::k##cpp))
SCALPEL_SAME_SITE(EMBED, Embed);
SCALPEL_SAME_SITE(POS_EMBED, PosEmbed);
SCALPEL_SAME_SITE(RESID_PRE, ResidPre);
SCALPEL_SAME_SITE(LN1_SCALE, Ln1Scale);
SCALPEL_SAME_SITE(LN1_OUT, Ln1Out);
SCALPEL_SAME_SITE(QKV, Qkv);
SCALPEL_SAME_SITE(Q, Q);
SCALPEL_SAME_SITE(K, K);
SCALPEL_SAME_SITE(V, V);
SCALPEL_SAME_SITE(ATTN_SCORES, AttnScores);
SCALPEL_SAME_SITE(PATTERN, Pattern);
SCALPEL_SAME_SITE(Z, Z);
SCALPEL_SAME_SITE(HEAD_RESULT, HeadResult);
SCALPEL_SAME_SITE(ATTN_OUT, AttnOut);
SCALPEL_SAME_SITE(RESID_MID, ResidMid);
SCALPEL_SAME_SITE(LN2_SCALE, Ln2Scale);
SCALPEL_SAME_SITE(LN2_OUT, Ln2Out);
SCALPEL_SAME_SITE(MLP_PRE, MlpPre);
SCALPEL_SAME_SITE(MLP_POST, MlpPost);
SCALPEL_SAME_SITE(MLP_OUT, MlpOut);
SCALPEL_SAME_SITE(RESID_POST, ResidPost);
SCALPEL_SAME_SITE(LN_F_SCALE, LnFScale);
SCALPEL_SAME_SITE(LN_F_OUT, LnFOut);
SCALPEL_SAME_SITE(LOGITS, Logits);
static_assert(v1::Site_MAX == v1::SITE_LOGITS);
#undef SCALPEL_SAME_SITE

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

// Every name of every site, as it reads inside its block.
const std::map<std::string, const SiteEntry*, std::less<>>& Names() {
  static const auto* names = [] {
    auto* map = new std::map<std::string, const SiteEntry*, std::less<>>;
    for (const SiteEntry& entry : AllSites()) {
      map->emplace(entry.name, &entry);
      for (const std::string& alias : entry.facts.aliases()) {
        map->emplace(alias, &entry);
        map->emplace(absl::StripPrefix(alias, "transformer."), &entry);
      }
    }
    return map;
  }();
  return *names;
}

const SiteEntry* FindName(absl::string_view name) {
  const auto& names = Names();
  for (const std::string& candidate :
       {std::string(name), absl::AsciiStrToLower(name), absl::StrCat(name, ":output")}) {
    if (const auto found = names.find(candidate); found != names.end()) return found->second;
  }
  return nullptr;
}

// Takes `N` and the `.` behind it, or a `:` that stays, off the front of `rest`.
bool TakeLayer(absl::string_view& rest, int32_t& layer) {
  size_t digits = 0;
  while (digits < rest.size() && absl::ascii_isdigit(rest[digits])) ++digits;
  if (digits == 0 || !absl::SimpleAtoi(rest.substr(0, digits), &layer)) return false;
  rest.remove_prefix(digits);
  return rest.empty() || absl::StartsWith(rest, ":") ||
         (absl::ConsumePrefix(&rest, ".") && !rest.empty());
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

absl::StatusOr<SitePath> ResolvePath(absl::string_view path) {
  absl::string_view rest = path;
  SitePath result{nullptr, std::nullopt};
  int32_t layer = 0;
  if (absl::ConsumePrefix(&rest, "blocks.") || absl::ConsumePrefix(&rest, "transformer.h.") ||
      absl::ConsumePrefix(&rest, "h.")) {
    if (TakeLayer(rest, layer)) {
      result.layer = layer;
      result.site = FindName(rest);
    }
  } else if (!rest.empty()) {
    result.site = FindName(rest);
  }
  if (result.site == nullptr || (result.layer.has_value() && !result.site->facts.per_layer())) {
    return absl::InvalidArgumentError(
        absl::StrCat("no site has this name; use a site's own name (resid_post), TransformerLens' "
                     "(blocks.3.attn.hook_k) or HuggingFace's "
                     "(transformer.h.3.attn.c_attn:output): GetModel lists them"));
  }
  return result;
}

}  // namespace scalpel::spec
