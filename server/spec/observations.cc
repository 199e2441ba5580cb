#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "server/spec/compile.h"
#include "server/spec/stats.h"

namespace scalpel::spec {
namespace {

template <typename Observer>
void NormalizeMoment(Compilation& c, Observer* observer, absl::string_view field) {
  if (observer->moment() == v1::MOMENT_UNSPECIFIED) observer->set_moment(v1::MOMENT_AFTER);
  if (!v1::Moment_IsValid(observer->moment())) {
    c.violations.Add(absl::StrCat(field, ".moment"),
                     absl::StrCat(static_cast<int>(observer->moment()), " is no moment"));
  }
}

void CheckStatistics(Compilation& c, const v1::Probe& probe, absl::string_view field) {
  std::set<int> seen;
  for (int i = 0; i < probe.statistics_size(); ++i) {
    const std::string item = absl::StrCat(field, ".statistics[", i, "]");
    const int statistic = probe.statistics(i);
    if (!v1::Statistic_IsValid(statistic) || statistic == v1::STATISTIC_UNSPECIFIED) {
      c.violations.Add(item, absl::StrCat(statistic, " is no statistic; GetModel lists them"));
    } else if (!seen.insert(statistic).second) {
      c.violations.Add(item, absl::StrCat(v1::Statistic_Name(statistic), " is asked twice"));
    }
    if (seen.size() > v1::Statistic_ARRAYSIZE) return;
  }
}

void CheckHistogram(Compilation& c, const v1::Histogram& histogram, absl::string_view field) {
  if (histogram.bins() < 1 || histogram.bins() > c.limits.histogram_bins_max) {
    c.violations.Add(
        absl::StrCat(field, ".bins"),
        absl::StrCat(histogram.bins(), " is outside [1, ", c.limits.histogram_bins_max, "]"));
  }
  if (!std::isfinite(histogram.min()) || !std::isfinite(histogram.max()) ||
      histogram.min() >= histogram.max() || !std::isfinite(histogram.max() - histogram.min())) {
    c.violations.Add(absl::StrCat(field, ".max"),
                     absl::StrCat(histogram.max(), " is not above min, ", histogram.min(),
                                  ", or one is not finite"));
  }
}

void CheckProbe(Compilation& c, const v1::Probe& probe, absl::string_view field) {
  if (probe.statistics().empty() && probe.quantiles().empty() && !probe.has_histogram()) {
    c.violations.Add(absl::StrCat(field, ".statistics"),
                     "is empty; ask for a statistic, a quantile or a histogram");
  }
  CheckStatistics(c, probe, field);
  if (probe.quantiles_size() > c.limits.quantiles_max) {
    c.violations.Add(absl::StrCat(field, ".quantiles"),
                     absl::StrCat("has ", probe.quantiles_size(), " entries, at most ",
                                  c.limits.quantiles_max, " are allowed"));
    return;
  }
  for (int i = 0; i < probe.quantiles_size(); ++i) {
    if (!(probe.quantiles(i) >= 0 && probe.quantiles(i) <= 1)) {
      c.violations.Add(absl::StrCat(field, ".quantiles[", i, "]"),
                       absl::StrCat(probe.quantiles(i), " is outside [0, 1]"));
    }
  }
  if (probe.has_histogram())
    CheckHistogram(c, probe.histogram(), absl::StrCat(field, ".histogram"));
}

// What depends on the site: the kept axes, and statistics that only make sense at some.
bool CheckProbeAtSite(Compilation& c, const v1::Probe& probe, const SiteEntry& site,
                      absl::string_view field) {
  const bool scores = site.site == v1::SITE_ATTN_SCORES;
  bool good = true;
  const auto refuse = [&](absl::string_view where, absl::string_view why) {
    c.violations.Add(absl::StrCat(field, ".", where), why);
    good = false;
  };
  std::set<int> kept;
  for (int i = 0; i < probe.keep_size(); ++i) {
    const std::string item = absl::StrCat("keep[", i, "]");
    const auto axis = static_cast<v1::Axis>(probe.keep(i));
    if (!AxisIndex(site.facts, axis)) refuse(item, absl::StrCat(site.name, " has no such axis"));
    if (scores && axis != v1::AXIS_HEAD)
      refuse(item, "attn_scores can only keep AXIS_HEAD, since its rows differ in length");
    if (!kept.insert(axis).second) refuse(item, "is named twice");
    if (kept.size() > 8) return false;
  }
  const auto innermost = site.facts.axes(site.facts.axes_size() - 1);
  for (int i = 0; i < probe.statistics_size(); ++i) {
    const std::string item = absl::StrCat("statistics[", i, "]");
    if (probe.statistics(i) == v1::STATISTIC_ENTROPY) {
      if (site.site != v1::SITE_PATTERN)
        refuse(item, "entropy is of attention weights: ask for it at pattern");
      if (kept.contains(v1::AXIS_KEY)) refuse(item, "entropy sums over AXIS_KEY; do not keep it");
    }
    if (probe.statistics(i) == v1::STATISTIC_MEAN_L2_NORM && (scores || kept.contains(innermost))) {
      refuse(item,
             "mean_l2_norm takes norms along the innermost axis; do not keep it, and do not ask "
             "for it at attn_scores");
    }
  }
  return good;
}

// The region that a probe reads. A statistic is of a set: what is not kept is read in rising order,
// so that the order in which it was named changes no bit.
std::shared_ptr<const Region> ReadBy(const v1::Probe& probe, const SiteEntry& site,
                                     std::shared_ptr<const Region> region) {
  std::vector<IndexSet> axes;
  for (int i = 0; i < region->rank(); ++i) {
    const bool kept = std::find(probe.keep().begin(), probe.keep().end(), site.facts.axes(i)) !=
                      probe.keep().end();
    axes.push_back(kept ? region->axis(i) : region->axis(i).Ascending());
  }
  return std::make_shared<const Region>(std::move(axes));
}

// A capture reads what it selects.
std::shared_ptr<const Region> ReadBy(const v1::Capture&, const SiteEntry&,
                                     std::shared_ptr<const Region> region) {
  return region;
}

// Unfolds a probe or capture: `add` gets the site's plan and the observation of one layer and row.
template <typename Observer, typename Add>
void Unfold(Compilation& c, const Observer& observer, int32_t index, const ResolvedPlace& place,
            bool against_clean, absl::string_view field, Add add) {
  const bool twice = c.plan.request.include_clean_run();
  if (!CountPlaces(
          c, static_cast<int64_t>(place.layers.size() * place.prompts.size()) * (twice ? 2 : 1),
          field))
    return;
  const std::string place_field = absl::StrCat(field, ".place");
  for (const int32_t prompt : place.prompts) {
    const auto region = RegionOf(c, place, observer.place(), prompt, place_field);
    if (region == nullptr) return;
    Observation observation{.index = index,
                            .row = prompt,
                            .region = ReadBy(observer, *place.site, region),
                            .clean_row = std::nullopt};
    if (against_clean) observation.clean_row = CleanRow(c, prompt);
    for (const int32_t layer : place.layers) {
      SitePlan& site = c.plan.sites[{layer, ToModel(place.site->site)}];
      add(site, observation);
      if (!twice) continue;
      Observation clean = observation;
      clean.row = c.clean_row[prompt];
      add(site, clean);
    }
  }
}

void CompileProbe(Compilation& c, int index, std::unordered_set<std::string>& names) {
  v1::Probe* probe = c.plan.request.mutable_probes(index);
  const std::string field = absl::StrCat("probes[", index, "]");
  NormalizeMoment(c, probe, field);
  CheckProbe(c, *probe, field);
  const auto place = ResolvePlace(c, probe->mutable_place(), absl::StrCat(field, ".place"));
  ResolveName(c, probe->mutable_name(),
              absl::StrCat(place ? place->site->name : "probe", "[", index, "]"), names,
              absl::StrCat(field, ".name"));
  if (!place || !CheckProbeAtSite(c, *probe, *place->site, field)) return;
  const bool before = probe->moment() == v1::MOMENT_BEFORE;
  Unfold(c, *probe, index, *place, NeedsClean(*probe), field,
         [&](SitePlan& site, const Observation& observation) {
           (before ? site.probes_before : site.probes_after).push_back(observation);
         });
}

void CompileCapture(Compilation& c, int index, std::unordered_set<std::string>& names) {
  v1::Capture* capture = c.plan.request.mutable_captures(index);
  const std::string field = absl::StrCat("captures[", index, "]");
  NormalizeMoment(c, capture, field);
  NormalizeDataType(c, capture, field);
  const auto place = ResolvePlace(c, capture->mutable_place(), absl::StrCat(field, ".place"));
  ResolveName(c, capture->mutable_name(),
              absl::StrCat(place ? place->site->name : "capture", "[", index, "]"), names,
              absl::StrCat(field, ".name"));
  if (!place) return;
  const bool before = capture->moment() == v1::MOMENT_BEFORE;
  Unfold(c, *capture, index, *place, /*against_clean=*/false, field,
         [&](SitePlan& site, const Observation& observation) {
           (before ? site.captures_before : site.captures_after).push_back(observation);
         });
}

}  // namespace

void CompileObservations(Compilation& c) {
  std::unordered_set<std::string> probe_names, capture_names;
  for (int i = 0; i < c.plan.request.probes_size(); ++i) CompileProbe(c, i, probe_names);
  for (int i = 0; i < c.plan.request.captures_size(); ++i) CompileCapture(c, i, capture_names);
}

}  // namespace scalpel::spec
