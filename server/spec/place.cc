#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "server/spec/compile.h"

namespace scalpel::spec {
namespace {

// The site, by its enum value or by path; a layer in the path becomes `where.layers`.
const SiteEntry* ResolveSite(Compilation& c, v1::Place* place, absl::string_view field,
                             bool& observe_only) {
  if (place->path().empty()) {
    const SiteEntry* site = FindSite(place->site());
    if (site == nullptr) {
      c.violations.Add(absl::StrCat(field, ".site"),
                       place->site() == v1::SITE_UNSPECIFIED
                           ? std::string("is required; give `site` or `path`")
                           : absl::StrCat(static_cast<int>(place->site()),
                                          " is not a site; GetModel lists them"));
    }
    return site;
  }
  const std::string path_field = absl::StrCat(field, ".path");
  if (place->site() != v1::SITE_UNSPECIFIED) {
    c.violations.Add(path_field, "is given together with `site`; give one of them");
    return nullptr;
  }
  const auto resolved = ResolvePath(place->path());
  if (!resolved.ok()) {
    c.violations.Add(path_field, resolved.status().message());
    return nullptr;
  }
  if (resolved->layer) {
    if (place->where().layers_size() > 0) {
      c.violations.Add(absl::StrCat(field, ".where.layers"),
                       "is given together with a layer in `path`; give one of them");
      return nullptr;
    }
    if (*resolved->layer >= c.facts.config.n_layer) {
      c.violations.Add(path_field, absl::StrCat("layer ", *resolved->layer, " is outside [0, ",
                                                c.facts.config.n_layer, ")"));
      return nullptr;
    }
    place->mutable_where()->add_layers(*resolved->layer);
  }
  observe_only = resolved->observe_only;
  place->set_site(resolved->site->site);
  place->clear_path();
  return resolved->site;
}

// Refuses fields of the selection that the site has no axis for.
bool CheckAxes(Compilation& c, const SiteEntry& site, const v1::Selection& where,
               absl::string_view field) {
  bool good = true;
  const auto require = [&](bool given, bool has_axis, absl::string_view name) {
    if (!given || has_axis) return;
    c.violations.Add(absl::StrCat(field, ".where.", name),
                     absl::StrCat(site.name, " has no such axis; leave the field out"));
    good = false;
  };
  const auto has = [&](v1::Axis axis) { return AxisIndex(site.facts, axis).has_value(); };
  require(where.layers_size() > 0, site.facts.per_layer(), "layers");
  require(where.heads_size() > 0, has(v1::AXIS_HEAD), "heads");
  require(where.has_units(), has(v1::AXIS_UNIT), "units");
  require(where.has_key_positions(), has(v1::AXIS_KEY), "key_positions");
  if (where.has_steps()) {  // a generation has taken out its own
    c.violations.Add(absl::StrCat(field, ".where.steps"),
                     "only a generation has steps; leave the field out");
    good = false;
  }
  return good;
}

// What else is wrong with a place of which no region will be made: as far as one prompt tells.
void NameWrongAxes(Compilation& c, const SiteEntry& site, const v1::Selection& where,
                   absl::string_view field) {
  const auto prompt = std::find_if(c.prompts.begin(), c.prompts.end(),
                                   [](const auto& tokens) { return !tokens.empty(); });
  if (prompt == c.prompts.end()) return;
  ResolveRegion(site, where, c.facts.config, *prompt, nullptr, absl::StrCat(field, ".where"),
                c.violations);
}

}  // namespace

std::optional<ResolvedPlace> ResolvePlace(Compilation& c, v1::Place* place,
                                          absl::string_view field) {
  bool observe_only = false;
  const SiteEntry* site = ResolveSite(c, place, field, observe_only);
  if (site == nullptr || !CheckAxes(c, *site, place->where(), field)) return std::nullopt;
  v1::Selection* where = place->mutable_where();
  ResolvedPlace resolved{site, observe_only, {}, {}};
  std::optional<std::vector<int32_t>> layers =
      site->facts.per_layer() ? ResolveList(where->layers(), c.facts.config.n_layer,
                                            absl::StrCat(field, ".where.layers"), c.violations)
                              : std::vector<int32_t>{model::kNoLayer};
  const auto prompts = ResolveList(where->prompts(), c.edited_prompts(),
                                   absl::StrCat(field, ".where.prompts"), c.violations);
  if (!layers || !prompts) {
    NameWrongAxes(c, *site, *where, field);
    return std::nullopt;
  }
  resolved.layers = *std::move(layers);
  if (site->facts.per_layer())
    where->mutable_layers()->Assign(resolved.layers.begin(), resolved.layers.end());
  where->mutable_prompts()->Assign(prompts->begin(), prompts->end());
  for (const int32_t prompt : *prompts) {
    if (c.Runs(prompt) && !c.prompts[prompt].empty()) resolved.prompts.push_back(prompt);
  }
  return resolved;
}

std::shared_ptr<const Region> RegionOf(Compilation& c, ResolvedPlace& place, const v1::Place& spec,
                                       int32_t prompt, absl::string_view field) {
  const std::vector<int32_t>& tokens = c.prompts[prompt];
  const v1::Selection& where = spec.where();
  const bool by_token = where.positions().has_tokens() || where.key_positions().has_tokens();
  if (const auto known = place.by_length.find(tokens.size()); known != place.by_length.end())
    return known->second;
  auto region = ResolveRegion(*place.site, where, c.facts.config, tokens, place.last.get(),
                              absl::StrCat(field, ".where"), c.violations);
  if (!region) return nullptr;
  place.last = std::make_shared<const Region>(*std::move(region));
  if (!by_token) place.by_length[tokens.size()] = place.last;
  return place.last;
}

bool CountPlaces(Compilation& c, int64_t count, absl::string_view field) {
  const bool before = c.places <= c.limits->max_places();
  c.places += count;
  if (c.places <= c.limits->max_places()) return true;
  if (before) {
    c.violations.Add(
        field, absl::StrCat("here the request unfolds into more than ", c.limits->max_places(),
                            " places (layers times prompts, over all interventions, probes "
                            "and captures); split it"));
  }
  return false;
}

void ResolveName(Compilation& c, std::string* name, absl::string_view fallback,
                 std::unordered_set<std::string>& taken, absl::string_view field) {
  if (name->empty()) *name = std::string(fallback);
  if (static_cast<int64_t>(name->size()) > c.limits->max_name_bytes()) {
    c.violations.Add(field, absl::StrCat("has ", name->size(), " bytes, at most ",
                                         c.limits->max_name_bytes(), " are allowed"));
    name->clear();
    return;
  }
  if (!taken.insert(*name).second)
    c.violations.Add(field, absl::StrCat("\"", *name, "\" is taken; names are unique"));
}

void CheckNumber(Compilation& c, double number, absl::string_view field) {
  if (c.request.allow_non_finite()) return;
  absl::string_view wrong;
  if (std::isnan(number) || std::isinf(number)) {
    wrong = "is not finite";
  } else if (std::abs(number) > std::numeric_limits<float>::max()) {
    wrong = "is beyond float32's range";
  } else if (number != 0 && std::abs(number) < std::numeric_limits<float>::min()) {
    wrong = "is below float32's normal range";
  } else {
    return;
  }
  c.violations.Add(field,
                   absl::StrCat(number, " ", wrong, "; set `allow_non_finite` if it is meant"));
}

}  // namespace scalpel::spec
