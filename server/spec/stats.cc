#include "server/spec/stats.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace scalpel::spec {
namespace {

bool Keeps(const v1::Probe& probe, int axis) {
  return std::find(probe.keep().begin(), probe.keep().end(), axis) != probe.keep().end();
}

// One row of `x` for each kept index: [kept, reduced], double, contiguous; within a row the site's
// innermost axis runs fastest.
at::Tensor KeptByReduced(const v1::Probe& probe, const SiteEntry& site, const Region& region,
                         const at::Tensor& value) {
  at::Tensor x = value.to(at::kDouble);
  if (site.site ==
      v1::SITE_ATTN_SCORES) {  // only entries with key <= query count; at most the heads are kept
    const at::Tensor pairs = CausalMask(region, value.device()).flatten().nonzero().flatten();
    x = x.flatten(1).index_select(1, pairs);  // [heads, pairs]
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
  return x.permute(order).reshape({kept, -1}).contiguous();
}

// The statistics of [kept, reduced] samples; each returns [kept]. Intermediate results that several
// need are made once.
class Samples {
 public:
  // `inner`: length of the innermost axis. `clean`: as `x`, or undefined.
  Samples(at::Tensor x, at::Tensor clean, int64_t inner)
      : x_(std::move(x)), clean_(std::move(clean)), inner_(inner) {}

  at::Tensor Compute(v1::Statistic statistic) {
    switch (statistic) {
      case v1::STATISTIC_MEAN:
        return x_.mean(1);
      case v1::STATISTIC_STD:
        return Variance().sqrt();
      case v1::STATISTIC_VARIANCE:
        return Variance();
      case v1::STATISTIC_MIN:
        return x_.amin(1);
      case v1::STATISTIC_MAX:
        return x_.amax(1);
      case v1::STATISTIC_ABS_MAX:
        return x_.abs().amax(1);
      case v1::STATISTIC_L2_NORM:
        return Norm(x_);
      case v1::STATISTIC_MEAN_L2_NORM:
        return Norm(x_.view({-1, inner_})).view({x_.size(0), -1}).mean(1);
      case v1::STATISTIC_RMS:
        return x_.square().mean(1).sqrt();
      case v1::STATISTIC_KURTOSIS:
        return Centered().square().square().mean(1) / Centered().square().mean(1).square();
      case v1::STATISTIC_ZERO_FRACTION:
        return (x_ == 0).to(at::kDouble).mean(1);
      case v1::STATISTIC_ENTROPY:  // the innermost axis is the keys
        return -at::xlogy(x_, x_).view({x_.size(0), -1, inner_}).sum(2).mean(1);
      case v1::STATISTIC_RELATIVE_L2:
        return Norm(x_ - clean_) / Norm(clean_);
      case v1::STATISTIC_COSINE:
        return (x_ * clean_).sum(1) / (Norm(x_) * Norm(clean_));
      case v1::STATISTIC_UNSPECIFIED:
      case v1::Statistic_INT_MIN_SENTINEL_DO_NOT_USE_:
      case v1::Statistic_INT_MAX_SENTINEL_DO_NOT_USE_:
        break;  // refused by Compile
    }
    TORCH_CHECK(false, "a statistic without implementation passed validation");
  }

  // Linear interpolation between the order statistics around q (n - 1), as torch.quantile, but
  // without its limit on size. NaN where any sample is: sorting puts it last.
  at::Tensor Quantile(double q) {
    if (!sorted_.defined()) sorted_ = std::get<0>(x_.sort(1));
    const double place = q * static_cast<double>(x_.size(1) - 1);
    const int64_t below = static_cast<int64_t>(place),
                  above = static_cast<int64_t>(std::ceil(place));
    const at::Tensor value = at::lerp(sorted_.select(1, below), sorted_.select(1, above),
                                      place - static_cast<double>(below));
    const at::Tensor last = sorted_.select(1, -1);
    return at::where(last.isnan(), last, value);
  }

  // [kept * bins] counts, then [kept] below, then [kept] above.
  std::vector<at::Tensor> Histogram(const v1::Histogram& histogram) {
    const double width = histogram.max() - histogram.min();
    const at::Tensor bin =
        ((x_ - histogram.min()) / width * histogram.bins()).floor().clamp_(0, histogram.bins() - 1);
    const at::Tensor inside = (x_ >= histogram.min()).logical_and_(x_ <= histogram.max());
    at::Tensor counts = at::zeros({x_.size(0), histogram.bins()}, x_.options());
    counts.scatter_add_(1, bin.nan_to_num().to(at::kLong), inside.to(at::kDouble));
    return {counts.flatten(), (x_ < histogram.min()).to(at::kDouble).sum(1),
            (x_ > histogram.max()).to(at::kDouble).sum(1)};
  }

 private:
  static at::Tensor Norm(const at::Tensor& x) { return x.square().sum(1).sqrt(); }

  const at::Tensor& Centered() {
    if (!centered_.defined()) centered_ = x_ - x_.mean(1, /*keepdim=*/true);
    return centered_;
  }

  at::Tensor Variance() { return Centered().square().sum(1) / static_cast<double>(x_.size(1) - 1); }

  const at::Tensor x_, clean_;
  const int64_t inner_;
  at::Tensor centered_, sorted_;
};

}  // namespace

bool NeedsClean(const v1::Probe& probe) {
  return std::any_of(probe.statistics().begin(), probe.statistics().end(), [](int statistic) {
    return statistic == v1::STATISTIC_RELATIVE_L2 || statistic == v1::STATISTIC_COSINE;
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
  Samples samples(KeptByReduced(probe, site, region, value),
                  clean.defined() ? KeptByReduced(probe, site, region, clean) : at::Tensor(),
                  value.size(-1));
  std::vector<at::Tensor> numbers;
  for (const int statistic : probe.statistics())
    numbers.push_back(samples.Compute(static_cast<v1::Statistic>(statistic)));
  for (const double q : probe.quantiles()) numbers.push_back(samples.Quantile(q));
  if (probe.has_histogram()) {
    for (at::Tensor& counts : samples.Histogram(probe.histogram()))
      numbers.push_back(std::move(counts));
  }
  return at::cat(numbers);
}

void FillResult(const v1::Probe& probe, const SiteEntry& site, const Region& region,
                absl::Span<const double> numbers, v1::ProbeResult* result) {
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
