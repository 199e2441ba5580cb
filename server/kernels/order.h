// Maps floats to integers that have the same order. CPUs disagree about the minimum of two floats
// when one is NaN or both are zeros; the minimum of two integers is unambiguous.

#ifndef SCALPEL_SERVER_KERNELS_ORDER_H_
#define SCALPEL_SERVER_KERNELS_ORDER_H_

#include <bit>
#include <cstdint>

namespace scalpel::kernels {

// Returns an integer that increases with x. -0 comes before 0. NaN with the sign bit set comes
// before -infinity, and without it after infinity.
constexpr int32_t OrderOf(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}

// The inverse of OrderOf, bit for bit.
constexpr float FromOrder(int32_t order) {
  return std::bit_cast<float>(order < 0 ? order ^ 0x7fffffff : order);
}

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_ORDER_H_
