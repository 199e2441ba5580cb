// Runs a check once with each target of the kernels.

#ifndef SCALPEL_TESTS_UNIT_KERNELS_TARGETS_H_
#define SCALPEL_TESTS_UNIT_KERNELS_TARGETS_H_

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "server/kernels/targets.h"
#include "server/kernels/threads.h"

namespace scalpel::kernels {

// body(), with each target that this CPU has, and the fallback; the best one is restored.
template <typename Body>
void OnEveryTarget(Body body) {
  for (const std::string_view target : Targets()) {
    SCOPED_TRACE(std::string(target));
    ForceTarget(target);
    EXPECT_EQ(Target(), target);
    body();
    ForceTarget("");
  }
}

// The same with 1, 2 and 3 threads each.
template <typename Body>
void OnEveryTargetAndThreads(Body body) {
  for (const int threads : {1, 2, 3}) {
    SCOPED_TRACE(threads);
    SetThreads(threads);
    OnEveryTarget(body);
  }
  SetThreads(1);
}

inline std::vector<float> RandomFloats(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

// As bits, so that NaN equals itself and 0 is not -0.
inline std::vector<uint32_t> Bits(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

// |a - exact| in units of the last place of a float there.
inline double Ulps(float a, long double exact) {
  const float near = std::abs(static_cast<float>(exact));
  const double ulp = std::nextafter(near, INFINITY) - near;
  return static_cast<double>(std::abs(a - exact)) / ulp;
}

}  // namespace scalpel::kernels

#endif  // SCALPEL_TESTS_UNIT_KERNELS_TARGETS_H_
