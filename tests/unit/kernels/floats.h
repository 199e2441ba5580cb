// Random floats for the tests of the kernels, and comparisons of floats.

#ifndef SCALPEL_TESTS_UNIT_KERNELS_FLOATS_H_
#define SCALPEL_TESTS_UNIT_KERNELS_FLOATS_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace scalpel::kernels {

inline std::vector<float> RandomFloats(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

// Returns the bits of each float. Compared as bits, NaN equals itself and 0 differs from -0.
inline std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

// Returns |a - exact| in units in the last place of the float nearest to `exact`.
inline double Ulps(float a, long double exact) {
  const float near = std::abs(static_cast<float>(exact));
  const double ulp = std::nextafter(near, INFINITY) - near;
  return static_cast<double>(std::abs(a - exact)) / ulp;
}

}  // namespace scalpel::kernels

#endif  // SCALPEL_TESTS_UNIT_KERNELS_FLOATS_H_
