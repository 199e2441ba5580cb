#include "server/spec/host_stats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "server/kernels/moments.h"
#include "server/kernels/nan.h"
#include "server/kernels/order.h"
#include "server/kernels/threads.h"

namespace scalpel::spec {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kFloatsOfPiece = 1 << 15;  // for fewer, waking a thread costs more than it saves

// The statistics of one row. Intermediate results that several statistics need are computed once.
class RowStats {
 public:
  // `x` and `clean` are `count` floats each; `clean` may be null if no statistic needs it.
  RowStats(const float* x, const float* clean, int64_t count, int64_t inner)
      : x_(x), clean_(clean), count_(count), inner_(inner) {}

  double Compute(v1::Statistic statistic) {
    switch (statistic) {
      case v1::STATISTIC_MEAN:
        return Mean();
      case v1::STATISTIC_STD:
        return std::sqrt(Variance());
      case v1::STATISTIC_VARIANCE:
        return Variance();
      case v1::STATISTIC_MIN:
        return Extremes().min;
      case v1::STATISTIC_MAX:
        return Extremes().max;
      case v1::STATISTIC_ABS_MAX:
        return std::max(std::abs(Extremes().min), std::abs(Extremes().max));
      case v1::STATISTIC_L2_NORM:
        return std::sqrt(Squares());
      case v1::STATISTIC_MEAN_L2_NORM:
        return MeanOfVectors([](const float* vector, int64_t length) {
          return std::sqrt(kernels::SumOfSquares(vector, length));
        });
      case v1::STATISTIC_RMS:
        return std::sqrt(Squares() / Count());
      case v1::STATISTIC_KURTOSIS:
        return Central().fourths / Count() / (PopulationVariance() * PopulationVariance());
      case v1::STATISTIC_ZERO_FRACTION:
        return static_cast<double>(kernels::CountZeros(x_, count_)) / Count();
      case v1::STATISTIC_ENTROPY:  // the innermost axis is the keys
        return MeanOfVectors(kernels::Entropy);
      case v1::STATISTIC_RELATIVE_L2:
        return std::sqrt(kernels::SquaredDistance(x_, clean_, count_)) / CleanNorm();
      case v1::STATISTIC_COSINE:
        return kernels::Dot(x_, clean_, count_) / (std::sqrt(Squares()) * CleanNorm());
      case v1::STATISTIC_UNSPECIFIED:
      case v1::Statistic_INT_MIN_SENTINEL_DO_NOT_USE_:
      case v1::Statistic_INT_MAX_SENTINEL_DO_NOT_USE_:
        break;  // refused by Compile
    }
    return kNan;
  }

  bool HasNan() { return std::isnan(Extremes().min); }

 private:
  double Count() const { return static_cast<double>(count_); }

  double Mean() {
    if (!mean_) mean_ = kernels::Sum(x_, count_) / Count();
    return *mean_;
  }
  double Squares() {
    if (!squares_) squares_ = kernels::SumOfSquares(x_, count_);
    return *squares_;
  }
  const kernels::CentralSums& Central() {
    if (!central_) central_ = kernels::CentralSumsOf(x_, count_, Mean());
    return *central_;
  }
  const kernels::Extremes& Extremes() {
    if (!extremes_) extremes_ = kernels::ExtremesOf(x_, count_);
    return *extremes_;
  }
  double Variance() { return Central().squares / static_cast<double>(count_ - 1); }
  double PopulationVariance() { return Central().squares / Count(); }
  double CleanNorm() const { return std::sqrt(kernels::SumOfSquares(clean_, count_)); }

  // Returns the mean of of_vector(vector, length) over the vectors along the innermost axis.
  double MeanOfVectors(auto of_vector) const {
    double sum = 0;
    for (int64_t i = 0; i < count_; i += inner_) sum += of_vector(x_ + i, inner_);
    return sum / static_cast<double>(count_ / inner_);
  }

  const float *const x_, *const clean_;
  const int64_t count_, inner_;
  std::optional<double> mean_, squares_;
  std::optional<kernels::CentralSums> central_;
  std::optional<kernels::Extremes> extremes_;
};

// The position of a quantile among sorted samples: `weight` of the way from rank `below` to rank
// `above`.
struct Place {
  int64_t below, above;
  double weight;
};

Place PlaceOf(double q, int64_t count) {
  const double place = q * static_cast<double>(count - 1);
  const auto below = static_cast<int64_t>(place);
  return {below, static_cast<int64_t>(std::ceil(place)), place - static_cast<double>(below)};
}

// Partially sorts [first, last): moves the element of each of `ranks` (ascending) to its place.
// `offset` is the rank of *first. Repeated selection is faster than sorting, as there are few
// ranks.
void Select(int32_t* first, int32_t* last, int64_t offset, absl::Span<const int64_t> ranks) {
  if (ranks.empty()) return;
  const size_t middle = ranks.size() / 2;
  int32_t* found = first + (ranks[middle] - offset);
  std::nth_element(first, found, last);
  Select(first, found, offset, ranks.first(middle));
  Select(found + 1, last, ranks[middle] + 1, ranks.subspan(middle + 1));
}

// Quantiles by linear interpolation between two samples, as torch.quantile, but without its limit
// on the size of the input.
class Quantiles {
 public:
  Quantiles(const v1::Probe& probe, int64_t count) {
    for (const double q : probe.quantiles()) {
      places_.push_back(PlaceOf(q, count));
      ranks_.insert(ranks_.end(), {places_.back().below, places_.back().above});
    }
    std::sort(ranks_.begin(), ranks_.end());
    ranks_.erase(std::unique(ranks_.begin(), ranks_.end()), ranks_.end());
  }

  // Writes the quantiles of the `count` floats at `x`, none of them NaN, to numbers[0],
  // numbers[stride] and so on. `scratch` has room for `count` numbers.
  void Compute(const float* x, int64_t count, int32_t* scratch, double* numbers,
               int64_t stride) const {
    std::transform(x, x + count, scratch, kernels::OrderOf);
    Select(scratch, scratch + count, 0, ranks_);
    for (const Place& place : places_) {
      const double below = kernels::FromOrder(scratch[place.below]),
                   above = kernels::FromOrder(scratch[place.above]);
      *numbers = place.below == place.above ? below : Interpolate(below, above, place.weight);
      numbers += stride;
    }
  }

 private:
  // The formula of torch.lerp, which starts from the nearer end.
  static double Interpolate(double below, double above, double weight) {
    return weight < 0.5 ? below + weight * (above - below) : above - (1 - weight) * (above - below);
  }

  std::vector<Place> places_;
  std::vector<int64_t> ranks_;  // of all places, ascending, without duplicates
};

// Adds the histogram of `count` floats to `counts`, `below` and `above`. NaN is not counted.
void CountIntoBins(const v1::Histogram& histogram, const float* x, int64_t count, double* counts,
                   double* below, double* above) {
  const double min = histogram.min(), max = histogram.max(), width = max - min;
  const int64_t bins = histogram.bins();
  for (int64_t i = 0; i < count; ++i) {
    const double value = x[i];
    *below += value < min;
    *above += value > max;
    if (!(value >= min && value <= max)) continue;
    // The quotient is not negative, so the conversion rounds down.
    const auto bin = static_cast<int64_t>((value - min) / width * static_cast<double>(bins));
    ++counts[std::min(bin, bins - 1)];
  }
}

// Computes all numbers of a probe, row by row. Rows may be measured on several threads at once.
class HostStats {
 public:
  HostStats(const v1::Probe& probe, const Samples& samples)
      : probe_(probe),
        samples_(samples),
        kept_(samples.x.size(0)),
        count_(samples.x.size(1)),
        quantiles_(probe, count_),
        scratch_(probe.quantiles_size() > 0 ? kept_ * count_ : 0) {}

  // Writes the numbers of one row to `numbers`, which has those of all rows and is zero before.
  void Measure(int64_t row, double* numbers) {
    const float* x = samples_.x.const_data_ptr<float>() + row * count_;
    const float* clean =
        samples_.clean.defined() ? samples_.clean.const_data_ptr<float>() + row * count_ : nullptr;
    RowStats stats(x, clean, count_, samples_.inner);
    for (const int statistic : probe_.statistics()) {
      numbers[row] = stats.Compute(static_cast<v1::Statistic>(statistic));
      numbers += kept_;
    }
    if (probe_.quantiles_size() > 0) {
      double* const own = numbers + row;
      if (stats.HasNan()) {
        for (int i = 0; i < probe_.quantiles_size(); ++i) own[i * kept_] = kNan;
      } else {
        quantiles_.Compute(x, count_, scratch_.data() + row * count_, own, kept_);
      }
      numbers += probe_.quantiles_size() * kept_;
    }
    if (!probe_.has_histogram()) return;
    const int64_t bins = probe_.histogram().bins();
    double* const below = numbers + kept_ * bins + row;
    CountIntoBins(probe_.histogram(), x, count_, numbers + row * bins, below, below + kept_);
  }

 private:
  const v1::Probe& probe_;
  const Samples& samples_;
  const int64_t kept_, count_;
  const Quantiles quantiles_;
  std::vector<int32_t> scratch_;
};

}  // namespace

at::Tensor MeasureOnHost(const v1::Probe& probe, const Samples& samples) {
  const int64_t kept = samples.x.size(0), count = samples.x.size(1);
  int64_t kinds = probe.statistics_size() + probe.quantiles_size();
  if (probe.has_histogram()) kinds += probe.histogram().bins() + 2;
  const at::Tensor result = at::zeros({kinds * kept}, at::kDouble);
  double* const numbers = result.mutable_data_ptr<double>();
  HostStats stats(probe, samples);
  kernels::ParallelFor(kept, kFloatsOfPiece / count, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) stats.Measure(row, numbers);
  });
  std::transform(numbers, numbers + kinds * kept, numbers, kernels::OneNan<double>);
  return result;
}

}  // namespace scalpel::spec
