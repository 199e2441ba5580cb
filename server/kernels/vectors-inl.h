// What the kernels share, once for each target: vectors of floats, and the fused multiply-add.
// Included after hwy/highway.h by files that hwy/foreach_target.h compiles again and again.

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

// a b + c, rounded once. By the library where the CPU has no such instruction, or this target none.
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

// Doubles, and as many floats, for what is computed in double and rounded once.
using Tag64 = hwy::HWY_NAMESPACE::ScalableTag<double>;
using Vec64 = hwy::HWY_NAMESPACE::Vec<Tag64>;
using Narrow = hwy::HWY_NAMESPACE::Rebind<float, Tag64>;
using NarrowVec = hwy::HWY_NAMESPACE::Vec<Narrow>;
inline constexpr int64_t kDoubles = hwy::HWY_NAMESPACE::MaxLanes(Tag64());

// To the nearest floats; infinity beyond them. The fallback's own conversion saturates there.
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

// y = a + b.
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
