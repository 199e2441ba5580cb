#include <algorithm>
#include <cmath>
#include <set>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "server/contract/statistics.h"
#include "server/spec/compile.h"
#include "server/spec/stats.h"

namespace scalpel::spec {
namespace {

template <typename Observer>
void NormalizeMoment(Compilation& c, Observer* observer, absl::string_view field) {
  if (observer->moment() == v1::MOMENT_UNSPECIFIED) observer->set_moment(v1::MOMENT_AFTER);
  if (!v1::Moment_IsValid(observer->moment())) {
    c.violations.Add(absl::StrCat(field, ".moment"),
                     absl::StrCat(static_cast<int>(observer->moment()), " is not a moment"));
  }
}

void CheckStatistics(Compilation& c, const v1::Probe& probe, absl::string_view field) {
  std::set<int> seen;
  for (int i = 0; i < probe.statistics_size(); ++i) {
    const std::string item = absl::StrCat(field, ".statistics[", i, "]");
    const int statistic = probe.statistics(i);
    if (!v1::Statistic_IsValid(statistic) || statistic == v1::STATISTIC_UNSPECIFIED) {
      c.violations.Add(item, absl::StrCat(statistic, " is not a statistic; GetModel lists them"));
    } else if (!seen.insert(statistic).second) {
      c.violations.Add(item, absl::StrCat(v1::Statistic_Name(statistic), " is asked twice"));
    }
    if (seen.size() > v1::Statistic_ARRAYSIZE) return;
  }
}

void CheckHistogram(Compilation& c, const v1::Histogram& histogram, absl::string_view field) {
  if (histogram.bins() < 1 || histogram.bins() > c.limits->max_histogram_bins()) {
    c.violations.Add(
        absl::StrCat(field, ".bins"),
        absl::StrCat(histogram.bins(), " is outside [1, ", c.limits->max_histogram_bins(), "]"));
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
  if (probe.quantiles_size() > c.limits->max_quantiles()) {
    c.violations.Add(absl::StrCat(field, ".quantiles"),
                     absl::StrCat("has ", probe.quantiles_size(), " entries, at most ",
                                  c.limits->max_quantiles(), " are allowed"));
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
  const bool innermost_kept = kept.contains(site.facts.axes(site.facts.axes_size() - 1));
  for (int i = 0; i < probe.statistics_size(); ++i) {
    const std::string item = absl::StrCat("statistics[", i, "]");
    const auto statistic = static_cast<v1::Statistic>(probe.statistics(i));
    const v1::StatisticFacts& facts = contract::FactsOf(statistic);
    const v1::Site only_at = facts.only_at();
    if (only_at != v1::SITE_UNSPECIFIED && only_at != site.site) {
      refuse(item, absl::StrCat(v1::Statistic_Name(statistic), " is available only at ",
                                FindSite(only_at)->name));
    } else if (facts.of_vectors() && (scores || innermost_kept)) {
      refuse(item, absl::StrCat(v1::Statistic_Name(statistic),
                                " reduces the innermost axis, which can therefore not be kept, and "
                                "is not available at attn_scores"));
    }
  }
  return good;
}

// The region that a probe reads. A statistic is of a set: what is not kept is read in rising order,
// so that the order in which it was named changes no bit.
class ProbeRegions {
 public:
  ProbeRegions(const v1::Probe& probe, const SiteEntry& site) : probe_(probe), site_(site) {}

  // Of what the place selects in one prompt. Equal ones are shared, and so are the lists of heads
  // and units, which are the same in every prompt.
  std::shared_ptr<const Region> Of(const std::shared_ptr<const Region>& selected) {
    if (selected == selected_) return read_;
    std::vector<IndexSet> axes;
    for (int i = 0; i < selected->rank(); ++i) {
      const IndexSet& said = selected->axis(i);
      if (Keeps(probe_, site_.facts.axes(i)) || said.arithmetic())
        axes.push_back(said);
      else if (selected_ != nullptr && selected_->axis(i).list() == said.list())
        axes.push_back(read_->axis(i));
      else
        axes.push_back(said.Ascending());
    }
    selected_ = selected;
    read_ = std::make_shared<const Region>(std::move(axes));
    return read_;
  }

 private:
  const v1::Probe& probe_;
  const SiteEntry& site_;
  std::shared_ptr<const Region> selected_, read_;  // the last
};

// Unfolds a probe or capture: `add` gets the site's plan and the observation of one layer and row.
// `region_of` makes what is read of what is selected.
template <typename Observer>
void Unfold(
    Compilation& c, const Observer& observer, Observation observation, ResolvedPlace& place,
    bool against_clean, absl::string_view field,
    absl::FunctionRef<std::shared_ptr<const Region>(std::shared_ptr<const Region>)> read_by) {
  const bool twice = c.request.include_clean_run();
  const bool before = observer.moment() == v1::MOMENT_BEFORE;
  if (!CountPlaces(
          c, static_cast<int64_t>(place.layers.size() * place.prompts.size()) * (twice ? 2 : 1),
          field))
    return;
  const std::string place_field = absl::StrCat(field, ".place");
  for (const int32_t prompt : place.prompts) {
    const auto selected = RegionOf(c, place, observer.place(), prompt, place_field);
    if (selected == nullptr) return;
    observation.region = read_by(selected);
    if (against_clean) observation.clean_row = CleanRow(c, prompt);
    for (const int32_t layer : place.layers) {
      SitePlan& site = c.plan.sites[{layer, ToModel(place.site->site)}];
      std::vector<Observation>& list = before ? site.before : site.after;
      observation.rows = {c.RowOf(prompt)};
      list.push_back(observation);
      if (!twice) continue;
      observation.rows = {c.clean_row[prompt]};
      list.push_back(observation);
    }
  }
}

void CompileProbe(Compilation& c, int index, std::unordered_set<std::string>& names) {
  v1::Probe* probe = c.request.mutable_probes(index);
  const std::string field = absl::StrCat("probes[", index, "]");
  NormalizeMoment(c, probe, field);
  CheckProbe(c, *probe, field);
  auto place = ResolvePlace(c, probe->mutable_place(), absl::StrCat(field, ".place"));
  ResolveName(c, probe->mutable_name(),
              absl::StrCat(place ? place->site->name : "probe", "[", index, "]"), names,
              absl::StrCat(field, ".name"));
  if (!place || !CheckProbeAtSite(c, *probe, *place->site, field)) return;
  ProbeRegions regions(*probe, *place->site);
  Unfold(c, *probe, {.kind = Observation::Kind::kProbe, .index = index}, *place, NeedsClean(*probe),
         field, [&](const auto& selected) { return regions.Of(selected); });
  c.plan.probes[index] = *probe;
  c.plan.probes[index].clear_place();
}

void CompileCapture(Compilation& c, int index, std::unordered_set<std::string>& names) {
  v1::Capture* capture = c.request.mutable_captures(index);
  const std::string field = absl::StrCat("captures[", index, "]");
  NormalizeMoment(c, capture, field);
  NormalizeDataType(c, capture, field);
  auto place = ResolvePlace(c, capture->mutable_place(), absl::StrCat(field, ".place"));
  ResolveName(c, capture->mutable_name(),
              absl::StrCat(place ? place->site->name : "capture", "[", index, "]"), names,
              absl::StrCat(field, ".name"));
  if (!place) return;
  TensorOutput& output = c.plan.tensors[index];
  output.header.set_kind(v1::TENSOR_KIND_CAPTURE);
  output.header.set_name(capture->name());
  output.header.set_site(place->site->site);
  output.header.set_moment(capture->moment());
  output.dtype = capture->dtype();
  Unfold(c, *capture, {.kind = Observation::Kind::kTensor, .index = index}, *place,
         /*against_clean=*/false, field, [](const auto& selected) { return selected; });
}

}  // namespace

void CompileObservations(Compilation& c) {
  std::unordered_set<std::string> probe_names, capture_names;
  c.plan.probes.resize(c.request.probes_size());
  c.plan.tensors.resize(c.request.captures_size());
  for (int i = 0; i < c.request.probes_size() && c.wanted().ok(); ++i)
    CompileProbe(c, i, probe_names);
  for (int i = 0; i < c.request.captures_size() && c.wanted().ok(); ++i)
    CompileCapture(c, i, capture_names);
}

}  // namespace scalpel::spec
