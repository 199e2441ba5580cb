#include "server/spec/device_stats.h"

#include <cmath>
#include <utility>
#include <vector>

namespace scalpel::spec {
namespace {

// Computes statistics of all rows at once; each result is [kept]. Intermediate results that several
// statistics need are computed once.
class DeviceStats {
 public:
  explicit DeviceStats(const Samples& samples)
      : x_(samples.x.to(at::kDouble)),
        clean_(samples.clean.defined() ? samples.clean.to(at::kDouble) : at::Tensor()),
        inner_(samples.inner) {}

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

  // Interpolates linearly between the order statistics around rank q (n - 1), as torch.quantile
  // does, but without its limit on the size of the input. The result is NaN if any sample is;
  // sorting puts NaN last.
  at::Tensor Quantile(double q) {
    if (!sorted_.defined()) sorted_ = std::get<0>(x_.sort(1));
    const double place = q * static_cast<double>(x_.size(1) - 1);
    const int64_t below = static_cast<int64_t>(place),
                  above = static_cast<int64_t>(std::ceil(place));
    at::Tensor value = sorted_.select(1, below);
    if (above > below)
      value = at::lerp(value, sorted_.select(1, above), place - static_cast<double>(below));
    const at::Tensor last = sorted_.select(1, -1);
    return at::where(last.isnan(), last, value);
  }

  // Returns three tensors: the counts, [kept * bins]; how many samples are below the range, [kept];
  // how many are above it, [kept].
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

at::Tensor MeasureOnDevice(const v1::Probe& probe, const Samples& samples) {
  DeviceStats stats(samples);
  std::vector<at::Tensor> numbers;
  for (const int statistic : probe.statistics())
    numbers.push_back(stats.Compute(static_cast<v1::Statistic>(statistic)));
  for (const double q : probe.quantiles()) numbers.push_back(stats.Quantile(q));
  if (probe.has_histogram()) {
    for (at::Tensor& counts : stats.Histogram(probe.histogram()))
      numbers.push_back(std::move(counts));
  }
  return at::cat(numbers);
}

}  // namespace scalpel::spec
