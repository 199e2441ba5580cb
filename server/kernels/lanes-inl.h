// Sums in double precision whose order does not depend on the CPU. Lane l of kLanes adds up
// elements l, l + kLanes, l + 2 kLanes and so on; a fixed tree then adds up the lanes. Each target
// keeps the lanes in as many vectors as it needs.
//
// Include it after hwy/highway.h, in a file that hwy/foreach_target.h compiles for each target.

#if defined(SCALPEL_SERVER_KERNELS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SCALPEL_SERVER_KERNELS_LANES_INL_H_
#undef SCALPEL_SERVER_KERNELS_LANES_INL_H_
#else
#define SCALPEL_SERVER_KERNELS_LANES_INL_H_
#endif

#include <algorithm>
#include <cstdint>

#include "server/kernels/math64-inl.h"

HWY_BEFORE_NAMESPACE();
namespace scalpel::kernels {
namespace HWY_NAMESPACE {

inline constexpr int64_t kLanes = 16;

HWY_INLINE Vec64 Load64(const double* x) { return hwy::HWY_NAMESPACE::LoadU(Tag64(), x); }
HWY_INLINE Vec64 Load64(const float* x) {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::PromoteTo(Tag64(), hn::LoadU(hn::Rebind<float, Tag64>(), x));
}

// All kLanes lanes of the accumulator Of. Of holds one vector for each of its sums and has a method
// Take(Vec64...), which adds the elements of one vector of each input to them. The vectors are
// members of a recursive struct because g++ 12 keeps an array of vectors in memory instead of
// registers.
template <class Of, int64_t kVectors = kLanes / kDoubles>
struct Bank {
  HWY_INLINE explicit Bank(const Of& empty) : first(empty), others(empty) {}

  // Adds the next kLanes elements of each array.
  template <class... T>
  HWY_INLINE void Take(const T*... x) {
    first.Take(Load64(x)...);
    others.Take((x + kDoubles)...);
  }
  // Writes the kLanes partial sums of the member `sum`.
  HWY_INLINE void Store(Vec64 Of::*sum, double* to) const {
    hwy::HWY_NAMESPACE::StoreU(first.*sum, Tag64(), to);
    others.Store(sum, to + kDoubles);
  }

  Of first;
  Bank<Of, kVectors - 1> others;
};

template <class Of>
struct Bank<Of, 1> {
  HWY_INLINE explicit Bank(const Of& empty) : first(empty) {}

  template <class... T>
  HWY_INLINE void Take(const T*... x) {
    first.Take(Load64(x)...);
  }
  HWY_INLINE void Store(Vec64 Of::*sum, double* to) const {
    hwy::HWY_NAMESPACE::StoreU(first.*sum, Tag64(), to);
  }

  Of first;
};

// The last elements of an array, fewer than kLanes of them, followed by `padding`.
struct Padded {
  template <class T>
  HWY_INLINE Padded(const T* x, int64_t count, double padding) {
    std::fill(std::copy(x, x + count, lanes), lanes + kLanes, padding);
  }
  double lanes[kLanes];
};

// Adds all `count` elements of each array. Lanes past the end take `padding`, which must be a value
// that adds nothing to any sum.
template <class Of, class... T>
HWY_INLINE void TakeAll(Bank<Of>& bank, int64_t count, double padding, const T*... x) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) bank.Take((x + i)...);
  if (i < count) bank.Take(Padded(x + i, count - i, padding).lanes...);
}

// The member `sum`, added up over all lanes by the fixed tree.
template <class Of>
HWY_INLINE double Total(const Bank<Of>& bank, Vec64 Of::*sum) {
  double lanes[kLanes];
  bank.Store(sum, lanes);
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  }
  return lanes[0];
}

}  // namespace HWY_NAMESPACE
}  // namespace scalpel::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
