#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/norm.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target

#include <hwy/highway.h>

#include <cmath>

#include "server/kernels/norm.h"
#include "server/kernels/threads.h"
#include "server/kernels/vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// A sum has so many partial sums on every target: element i goes to i modulo this.
constexpr int64_t kPartial = 16;

HWY_INLINE WideVec Load(const float* x) {
  return hn::PromoteTo(Wide(), hn::LoadU(Narrow(), x));
}

// The sum of term(x[i]), where `term` takes a vector of doubles, or one of them.
template <class Term>
HWY_INLINE double Sum(const float* x, int64_t width, Term term) {
  const Wide d;
  HWY_ALIGN double partial[kPartial] = {};
  const int64_t whole = width / kPartial * kPartial;
  for (int64_t lane = 0; lane < kPartial; lane += 4 * kDoubles) {  // four chains at a time, at most
    constexpr int64_t kChains = kPartial / kDoubles < 4 ? kPartial / kDoubles : 4;
    WideVec s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t i = lane; i < whole; i += kPartial) {
      s0 = hn::Add(s0, term(Load(x + i)));
      if constexpr (kChains > 1) s1 = hn::Add(s1, term(Load(x + i + kDoubles)));
      if constexpr (kChains > 2) s2 = hn::Add(s2, term(Load(x + i + 2 * kDoubles)));
      if constexpr (kChains > 3) s3 = hn::Add(s3, term(Load(x + i + 3 * kDoubles)));
    }
    hn::Store(s0, d, partial + lane);
    if constexpr (kChains > 1) hn::Store(s1, d, partial + lane + kDoubles);
    if constexpr (kChains > 2) hn::Store(s2, d, partial + lane + 2 * kDoubles);
    if constexpr (kChains > 3) hn::Store(s3, d, partial + lane + 3 * kDoubles);
  }
  for (int64_t i = whole; i < width; ++i)
    partial[i - whole] += hn::GetLane(term(hn::Set(d, static_cast<double>(x[i]))));
  for (int64_t step = kPartial / 2; step > 0; step /= 2) {
    for (int64_t i = 0; i < step; ++i) partial[i] += partial[i + step];
  }
  return partial[0];
}

// Returns the scale.
double NormRow(const Norm& norm, const float* x, float* y) {
  const Wide d;
  const double count = static_cast<double>(norm.width);
  const double mean = Sum(x, norm.width, [](WideVec v) HWY_ATTR { return v; }) / count;
  const WideVec centre = hn::Set(d, mean);
  const double variance = Sum(x, norm.width,
                              [centre](WideVec v) HWY_ATTR {
                                const WideVec c = hn::Sub(v, centre);
                                return hn::Mul(c, c);
                              }) /
                          count;
  const double scale = std::sqrt(variance + norm.epsilon);
  const WideVec reciprocal = hn::Set(d, 1 / scale);
  const auto one = [&](WideVec v, WideVec gain, WideVec bias) HWY_ATTR {
    return Rounded(Fma(hn::Mul(hn::Sub(v, centre), reciprocal), gain, bias));
  };
  int64_t i = 0;
  for (; i + kDoubles <= norm.width; i += kDoubles)
    hn::StoreU(one(Load(x + i), Load(norm.gain + i), Load(norm.bias + i)), Narrow(), y + i);
  for (; i < norm.width; ++i)
    y[i] = static_cast<float>(
        std::fma((x[i] - mean) * (1 / scale), double{norm.gain[i]}, double{norm.bias[i]}));
  return scale;
}

void NormRows(const Norm& norm, Rows x, int64_t rows, float* y, float* scale) {
  constexpr int64_t kElements = 8192;  // of a piece: some microseconds
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
