#include "server/kernels/finite.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "server/kernels/threads.h"

namespace scalpel::kernels {
namespace {

constexpr uint32_t kSign = 0x80000000;

// Has kSign set where x is infinite or NaN: these have every bit of the exponent set, and one more
// carries into the sign's place.
uint32_t Carry(float x) {
  constexpr uint32_t kExponent = 0x7f800000, kLowest = 0x00800000;
  return (std::bit_cast<uint32_t>(x) & kExponent) + kLowest;
}

bool AllFiniteHere(const float* x, int64_t count) {
  constexpr int64_t kBlock = 32;  // of a fixed length, of which the compiler makes vectors
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
  constexpr int64_t kPart = int64_t{1} << 16;  // floats: some microseconds
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
