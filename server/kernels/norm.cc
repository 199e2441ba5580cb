#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/norm.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <cmath>

#include "server/kernels/lanes-inl.h"
#include "server/kernels/moments.h"
#include "server/kernels/norm.h"
#include "server/kernels/threads.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

struct Deviations {
  HWY_INLINE explicit Deviations(double center)
      : mean(hn::Set(Tag64(), center)), squares(hn::Zero(Tag64())) {}
  HWY_INLINE void Take(Vec64 x) {
    const Vec64 difference = hn::Sub(x, mean);
    squares = hn::Add(squares, hn::Mul(difference, difference));
  }
  Vec64 mean, squares;
};

// Normalizes one row and returns its scale, sqrt(variance + epsilon). The second pass over the row,
// after the mean is known, keeps the variance accurate where the mean is large beside it.
double NormRow(const Norm& norm, const float* x, float* y) {
  const double count = static_cast<double>(norm.width), mean = Sum(x, norm.width) / count;
  Bank<Deviations> deviations{Deviations(mean)};
  TakeAll(deviations, norm.width, /*padding=*/mean, x);
  const double variance = Total(deviations, &Deviations::squares) / count;
  const double scale = std::sqrt(variance + norm.epsilon);
  const Vec64 centre = hn::Set(Tag64(), mean), reciprocal = hn::Set(Tag64(), 1 / scale);
  const auto one = [&](Vec64 v, Vec64 gain, Vec64 bias) HWY_ATTR {
    return Rounded(Fma(hn::Mul(hn::Sub(v, centre), reciprocal), gain, bias));
  };
  int64_t i = 0;
  for (; i + kDoubles <= norm.width; i += kDoubles)
    hn::StoreU(one(Load64(x + i), Load64(norm.gain + i), Load64(norm.bias + i)), Narrow(), y + i);
  for (; i < norm.width; ++i)
    y[i] = static_cast<float>(
        std::fma((x[i] - mean) * (1 / scale), double{norm.gain[i]}, double{norm.bias[i]}));
  return scale;
}

void NormRows(const Norm& norm, Rows x, int64_t rows, float* y, float* scale) {
  constexpr int64_t kElements = 8192;  // in a piece; they take some microseconds
  ParallelFor(rows, kElements / norm.width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const double divisor = NormRow(norm, x[row], y + row * norm.width);
      if (scale != nullptr) scale[row] = static_cast<float>(divisor);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::kernels {
namespace {

HWY_EXPORT(NormRows);

}  // namespace

void LayerNorm(const Norm& norm, Rows x, int64_t rows, float* y, float* scale) {
  HWY_DYNAMIC_DISPATCH(NormRows)(norm, x, rows, y, scale);
}

}  // namespace scalpel::kernels

#endif  // HWY_ONCE
