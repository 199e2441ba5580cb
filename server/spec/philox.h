// Philox 4x32-10 (Salmon et al., 2011): random words that are numbered by a counter, so that each
// can be had without those before it.

#ifndef SCALPEL_SERVER_SPEC_PHILOX_H_
#define SCALPEL_SERVER_SPEC_PHILOX_H_

#include <Random123/philox.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace scalpel::spec {

// Returns the four words of a counter. The key is the seed, its lower 32 bits first.
inline std::array<uint32_t, 4> Philox(uint64_t seed, const std::array<uint32_t, 4>& counter) {
  const r123::Philox4x32::key_type key = {
      {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)}};
  const auto words = r123::Philox4x32()({{counter[0], counter[1], counter[2], counter[3]}}, key);
  return {words[0], words[1], words[2], words[3]};
}

// Returns a number within (0, 1): (n + 0.5) / 2^53 for n = high * 2^21 + floor(low / 2^11). The
// largest would round to 1, and is the number before it instead.
inline double UniformOf(uint32_t high, uint32_t low) {
  const uint64_t n = uint64_t{high} << 21 | low >> 11;
  return std::min((static_cast<double>(n) + 0.5) * 0x1p-53, 1 - 0x1p-53);
}

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_PHILOX_H_
