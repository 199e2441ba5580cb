#include "server/kernels/moments.h"

#include "server/kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/moments.cc"
#include <hwy/foreach_target.h>  // compiles this file once for each target
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "server/kernels/lanes-inl.h"
#include "server/kernels/nan.h"
#include "server/kernels/order.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// ---- accumulators, for Bank ---------------------------------------------------------------------

struct Plain {
  HWY_INLINE Plain() : sum(hn::Zero(Tag64())) {}
  HWY_INLINE void Take(Vec64 x) { sum = hn::Add(sum, x); }
  Vec64 sum;
};

struct Squares {
  HWY_INLINE Squares() : sum(hn::Zero(Tag64())) {}
  HWY_INLINE void Take(Vec64 x) { sum = hn::Add(sum, hn::Mul(x, x)); }
  Vec64 sum;
};

struct Central {
  HWY_INLINE explicit Central(double center)
      : mean(hn::Set(Tag64(), center)), squares(hn::Zero(Tag64())), fourths(hn::Zero(Tag64())) {}
  HWY_INLINE void Take(Vec64 x) {
    const Vec64 difference = hn::Sub(x, mean), square = hn::Mul(difference, difference);
    squares = hn::Add(squares, square);
    fourths = hn::Add(fourths, hn::Mul(square, square));
  }
  Vec64 mean, squares, fourths;
};

struct Products {
  HWY_INLINE Products() : sum(hn::Zero(Tag64())) {}
  HWY_INLINE void Take(Vec64 x, Vec64 y) { sum = hn::Add(sum, hn::Mul(x, y)); }
  Vec64 sum;
};

struct Distances {
  HWY_INLINE Distances() : sum(hn::Zero(Tag64())) {}
  HWY_INLINE void Take(Vec64 x, Vec64 y) {
    const Vec64 difference = hn::Sub(x, y);
    sum = hn::Add(sum, hn::Mul(difference, difference));
  }
  Vec64 sum;
};

struct Surprises {
  HWY_INLINE Surprises() : sum(hn::Zero(Tag64())) {}
  HWY_INLINE void Take(Vec64 x) {
    const auto zero = hn::Eq(x, hn::Zero(Tag64()));
    sum = hn::Sub(sum, hn::IfThenZeroElse(zero, hn::Mul(x, Log64(x))));
  }
  Vec64 sum;
};

// ---- sums ---------------------------------------------------------------------------------------

// For accumulators to which padding with zeros adds nothing.
template <class Of, class... T>
HWY_INLINE double SumBy(int64_t count, const T*... x) {
  Bank<Of> bank{Of()};
  TakeAll(bank, count, 0, x...);
  return Total(bank, &Of::sum);
}

double SumHere(const float* x, int64_t count) { return SumBy<Plain>(count, x); }

double SumOfSquaresHere(const float* x, int64_t count) { return SumBy<Squares>(count, x); }

CentralSums CentralSumsHere(const float* x, int64_t count, double mean) {
  Bank<Central> bank{Central(mean)};
  TakeAll(bank, count, mean, x);
  return {Total(bank, &Central::squares), Total(bank, &Central::fourths)};
}

double DotHere(const float* x, const float* y, int64_t count) {
  return SumBy<Products>(count, x, y);
}

double SquaredDistanceHere(const float* x, const float* y, int64_t count) {
  return SumBy<Distances>(count, x, y);
}

double EntropyHere(const float* x, int64_t count) { return SumBy<Surprises>(count, x); }

// ---- order --------------------------------------------------------------------------------------

Extremes ExtremesHere(const float* x, int64_t count) {
  const Tag d;
  const hn::RebindToSigned<Tag> orders;
  int32_t min = OrderOf(x[0]), max = min;
  int64_t i = 0;
  if (count >= kFloats) {
    auto least = hn::Set(orders, min), greatest = least;
    for (; i + kFloats <= count; i += kFloats) {
      // OrderOf, for a vector.
      const auto bits = hn::BitCast(orders, hn::LoadU(d, x + i));
      const auto flip = hn::And(hn::ShiftRight<31>(bits), hn::Set(orders, 0x7fffffff));
      const auto order = hn::Xor(bits, flip);
      least = hn::Min(least, order);
      greatest = hn::Max(greatest, order);
    }
    HWY_ALIGN int32_t lanes[2][kFloats];
    hn::Store(least, orders, lanes[0]);
    hn::Store(greatest, orders, lanes[1]);
    min = *std::min_element(lanes[0], lanes[0] + kFloats);
    max = *std::max_element(lanes[1], lanes[1] + kFloats);
  }
  for (; i < count; ++i) {
    min = std::min(min, OrderOf(x[i]));
    max = std::max(max, OrderOf(x[i]));
  }
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  if (min < OrderOf(-kInfinity) || max > OrderOf(kInfinity)) return {kNan, kNan};
  return {FromOrder(min), FromOrder(max)};
}

int64_t CountZerosHere(const float* x, int64_t count) {
  const Tag d;
  int64_t zeros = 0, i = 0;
  for (; i + kFloats <= count; i += kFloats)
    zeros += static_cast<int64_t>(hn::CountTrue(d, hn::Eq(hn::LoadU(d, x + i), hn::Zero(d))));
  return zeros + std::count(x + i, x + count, 0.0f);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace scalpel::kernels {
namespace {

HWY_EXPORT(SumHere);
HWY_EXPORT(SumOfSquaresHere);
HWY_EXPORT(CentralSumsHere);
HWY_EXPORT(DotHere);
HWY_EXPORT(SquaredDistanceHere);
HWY_EXPORT(EntropyHere);
HWY_EXPORT(ExtremesHere);
HWY_EXPORT(CountZerosHere);

}  // namespace

double Sum(const float* x, int64_t count) {
  return OneNan(HWY_DYNAMIC_DISPATCH(SumHere)(x, count));
}

double SumOfSquares(const float* x, int64_t count) {
  return OneNan(HWY_DYNAMIC_DISPATCH(SumOfSquaresHere)(x, count));
}

CentralSums CentralSumsOf(const float* x, int64_t count, double mean) {
  const CentralSums sums = HWY_DYNAMIC_DISPATCH(CentralSumsHere)(x, count, mean);
  return {OneNan(sums.squares), OneNan(sums.fourths)};
}

double Dot(const float* x, const float* y, int64_t count) {
  return OneNan(HWY_DYNAMIC_DISPATCH(DotHere)(x, y, count));
}

double SquaredDistance(const float* x, const float* y, int64_t count) {
  return OneNan(HWY_DYNAMIC_DISPATCH(SquaredDistanceHere)(x, y, count));
}

double Entropy(const float* x, int64_t count) {
  return OneNan(HWY_DYNAMIC_DISPATCH(EntropyHere)(x, count));
}

Extremes ExtremesOf(const float* x, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(ExtremesHere)(x, count);
}

int64_t CountZeros(const float* x, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(CountZerosHere)(x, count);
}

}  // namespace scalpel::kernels

#endif  // HWY_ONCE
