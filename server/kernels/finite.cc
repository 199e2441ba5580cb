#include "server/kernels/finite.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "server/kernels/threads.h"

namespace scalpel::kernels {
namespace {

constexpr uint32_t kSign = 0x80000000;

// Returns a number whose bit kSign is set exactly if x is infinite or NaN. Those have all bits of
// the exponent set, so that adding 1 to the exponent carries into the place of the sign.
uint32_t Carry(float x) {
  constexpr uint32_t kExponent = 0x7f800000, kLowest = 0x00800000;
  return (std::bit_cast<uint32_t>(x) & kExponent) + kLowest;
}

bool AllFiniteHere(const float* x, int64_t count) {
  constexpr int64_t kBlock = 32;  // a constant, so that the compiler vectorizes the inner loop
  uint32_t carried = 0;
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    uint32_t block = 0;
    for (int64_t j = 0; j < kBlock; ++j) block |= Carry(x[i + j]);
    carried |= block;
  }
  for (; i < count; ++i) carried |= Carry(x[i]);
  return (carried & kSign) == 0;
}

}  // namespace

bool AllFinite(const float* x, int64_t count) {
  constexpr int64_t kPart = int64_t{1} << 16;  // floats; reading them takes some microseconds
  const int64_t parts = (count + kPart - 1) / kPart;
  if (parts <= 1) return AllFiniteHere(x, count);
  std::atomic<bool> all = true;
  ParallelFor(parts, 1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kPart, past = std::min(end * kPart, count);
    if (!AllFiniteHere(x + first, past - first)) all.store(false, std::memory_order_relaxed);
  });
  return all;
}

}  // namespace scalpel::kernels
