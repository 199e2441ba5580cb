// Integers in the order of floats. CPUs differ in what the minimum of two floats is where one is
// NaN or both are zeros; of integers it is the same on all.

#ifndef SCALPEL_SERVER_KERNELS_ORDER_H_
#define SCALPEL_SERVER_KERNELS_ORDER_H_

#include <bit>
#include <cstdint>

namespace scalpel::kernels {

// Rises with `x`; -0 comes before 0, and NaN lies beyond the infinities on both sides.
constexpr int32_t OrderOf(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}

constexpr float FromOrder(int32_t order) {
  return std::bit_cast<float>(order < 0 ? order ^ 0x7fffffff : order);
}

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_ORDER_H_
