#include "server/spec/stats.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "server/contract/statistics.h"
#include "server/spec/device_stats.h"
#include "server/spec/host_stats.h"

namespace scalpel::spec {
namespace {

// Returns `value` as Samples needs it, [kept, reduced]: a view if its memory has this order, else a
// copy.
at::Tensor KeptByReduced(const v1::Probe& probe, const SiteEntry& site, const Region& region,
                         const at::Tensor& value) {
  if (site.site == v1::SITE_ATTN_SCORES) {
    // Only entries with key <= query count. The only axis that may be kept is the heads'.
    const at::Tensor pairs = CausalMask(region, value.device()).flatten().nonzero().flatten();
    const at::Tensor x = value.flatten(1).index_select(1, pairs);  // [heads, pairs]
    return Keeps(probe, v1::AXIS_HEAD) ? x : x.reshape({1, -1});
  }
  std::vector<int64_t> order, kept_shape = KeptShape(probe, site, region);
  for (int i = 0; i < site.facts.axes_size(); ++i) {
    if (Keeps(probe, site.facts.axes(i))) order.push_back(i);
  }
  for (int i = 0; i < site.facts.axes_size(); ++i) {
    if (!Keeps(probe, site.facts.axes(i))) order.push_back(i);
  }
  const int64_t kept =
      std::accumulate(kept_shape.begin(), kept_shape.end(), int64_t{1}, std::multiplies<>());
  return value.permute(order).reshape({kept, -1}).contiguous();
}

}  // namespace

bool Keeps(const v1::Probe& probe, int axis) {
  return std::find(probe.keep().begin(), probe.keep().end(), axis) != probe.keep().end();
}

bool NeedsClean(const v1::Probe& probe) {
  return std::any_of(probe.statistics().begin(), probe.statistics().end(), [](int statistic) {
    return contract::FactsOf(static_cast<v1::Statistic>(statistic)).input() ==
           v1::STATISTIC_INPUT_VALUES_AND_CLEAN;
  });
}

std::vector<int64_t> KeptShape(const v1::Probe& probe, const SiteEntry& site,
                               const Region& region) {
  std::vector<int64_t> shape;
  for (int i = 0; i < site.facts.axes_size(); ++i) {
    if (Keeps(probe, site.facts.axes(i))) shape.push_back(region.axis(i).size());
  }
  return shape;
}

int64_t MeasuredCount(const v1::Probe& probe, const SiteEntry& site, const Region& region) {
  int64_t numbers = probe.statistics_size() + probe.quantiles_size();
  if (probe.has_histogram()) numbers += probe.histogram().bins() + 2;
  for (const int64_t kept : KeptShape(probe, site, region)) numbers *= kept;
  return numbers;
}

at::Tensor Measure(const v1::Probe& probe, const SiteEntry& site, const Region& region,
                   const at::Tensor& value, const at::Tensor& clean) {
  const Samples samples = {
      .x = KeptByReduced(probe, site, region, value),
      .clean = clean.defined() ? KeptByReduced(probe, site, region, clean) : at::Tensor(),
      .inner = value.size(-1)};
  return value.is_cpu() ? MeasureOnHost(probe, samples) : MeasureOnDevice(probe, samples);
}

void FillResult(const v1::Probe& probe, const SiteEntry& site, const Region& region,
                absl::Span<const double> numbers, v1::ProbeResult* result) {
  result->set_name(probe.name());
  result->set_moment(probe.moment());
  DescribeAxes(
      site, region, [&](v1::Axis axis) { return Keeps(probe, axis); }, result->mutable_axes());
  int64_t kept = 1;
  for (const int64_t length : KeptShape(probe, site, region)) {
    result->add_shape(length);
    kept *= length;
  }
  const auto take = [&](int64_t count) {
    const absl::Span<const double> taken = numbers.first(count);
    numbers.remove_prefix(count);
    return taken;
  };
  for (const int statistic : probe.statistics()) {
    v1::StatisticValues* values = result->add_statistics();
    values->set_statistic(static_cast<v1::Statistic>(statistic));
    for (const double number : take(kept)) values->add_values(number);
  }
  for (const double q : probe.quantiles()) {
    v1::QuantileValues* values = result->add_quantiles();
    values->set_quantile(q);
    for (const double number : take(kept)) values->add_values(number);
  }
  if (!probe.has_histogram()) return;
  v1::HistogramCounts* counts = result->mutable_histogram();
  for (const double number : take(kept * probe.histogram().bins()))
    counts->add_counts(static_cast<int64_t>(number));
  for (const double number : take(kept)) counts->add_below(static_cast<int64_t>(number));
  for (const double number : take(kept)) counts->add_above(static_cast<int64_t>(number));
}

}  // namespace scalpel::spec
