// The vector types of the kernels, and the operations on them that Highway does not provide on
// every target: fused multiply-add and conversion from double to float.
//
// Include it after hwy/highway.h, in a file that hwy/foreach_target.h compiles for each target.

#if defined(SCALPEL_SERVER_KERNELS_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALPEL_SERVER_KERNELS_VECTORS_INL_H_
#undef SCALPEL_SERVER_KERNELS_VECTORS_INL_H_
#else
#define SCALPEL_SERVER_KERNELS_VECTORS_INL_H_
#endif

#include <cmath>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {

using Tag = hwy::HWY_NAMESPACE::ScalableTag<float>;
using Vec = hwy::HWY_NAMESPACE::Vec<Tag>;
inline constexpr int64_t kFloats = hwy::HWY_NAMESPACE::MaxLanes(Tag());

// a b + c with a single rounding. The fallback target calls std::fma for each number.
template <class V>
HWY_INLINE V Fma(V a, V b, V c) {
  namespace hn = hwy::HWY_NAMESPACE;
#if HWY_NATIVE_FMA
  return hn::MulAdd(a, b, c);
#else
  const hn::DFromV<V> d;
  HWY_ALIGN hn::TFromV<V> x[hn::MaxLanes(d)], y[hn::MaxLanes(d)], z[hn::MaxLanes(d)];
  hn::Store(a, d, x);
  hn::Store(b, d, y);
  hn::Store(c, d, z);
  for (size_t i = 0; i < hn::Lanes(d); ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return hn::Load(d, z);
#endif
}

// Vectors of doubles, and of as many floats, for results that are computed in double precision and
// rounded to float once.
using Tag64 = hwy::HWY_NAMESPACE::ScalableTag<double>;
using Vec64 = hwy::HWY_NAMESPACE::Vec<Tag64>;
using Narrow = hwy::HWY_NAMESPACE::Rebind<float, Tag64>;
using NarrowVec = hwy::HWY_NAMESPACE::Vec<Narrow>;
inline constexpr int64_t kDoubles = hwy::HWY_NAMESPACE::MaxLanes(Tag64());

// x rounded to the nearest floats, infinity if it is too large. Highway's conversion in the
// fallback saturates to the largest float instead, hence the loop.
HWY_INLINE NarrowVec Rounded(Vec64 x) {
  namespace hn = hwy::HWY_NAMESPACE;
#if HWY_NATIVE_FMA
  return hn::DemoteTo(Narrow(), x);
#else
  const Tag64 d;
  HWY_ALIGN double wide[kDoubles];
  HWY_ALIGN float narrow[kDoubles];
  hn::Store(x, d, wide);
  for (int64_t i = 0; i < kDoubles; ++i) narrow[i] = static_cast<float>(wide[i]);
  return hn::Load(Narrow(), narrow);
#endif
}

// Writes y[i] = a[i] + b[i]. `y` may be `a` or `b`.
inline void Add(const float* a, const float* b, float* y, int64_t count) {
  namespace hn = hwy::HWY_NAMESPACE;
  const Tag d;
  int64_t i = 0;
  for (; i + kFloats <= count; i += kFloats)
    hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
  for (; i < count; ++i) y[i] = a[i] + b[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
