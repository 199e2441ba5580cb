#include "server/kernels/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/unit/kernels/floats.h"
#include "tests/unit/support/cpus.h"

namespace scalpel::kernels {
namespace {

using test::OnEveryCpu;

constexpr double kEpsilon = 1e-5;

TEST(LayerNorm, IsWithinOneUlpAndHasEqualBitsOnEveryCpu) {
  for (const int64_t width : {1, 2, 15, 16, 17, 96, 771}) {
    const int64_t rows = 21, stride = width + 5;
    auto x = RandomFloats(rows * stride, 1, 3);
    for (size_t i = 0; i < x.size(); i += 7) x[i] += 1000;  // sums that cancel
    const auto gain = RandomFloats(width, 2), bias = RandomFloats(width, 3);
    std::vector<float> first;
    OnEveryCpu([&] {
      std::vector<float> y(rows * width), scale(rows);
      LayerNorm({gain.data(), bias.data(), width, kEpsilon}, {x.data(), stride}, rows, y.data(),
                scale.data());
      std::vector<float> both = y;
      both.insert(both.end(), scale.begin(), scale.end());
      if (first.empty()) first = both;
      ASSERT_EQ(Bits(both), Bits(first)) << width;
      for (int64_t row = 0; row < rows; ++row) {
        long double mean = 0, variance = 0;
        for (int64_t i = 0; i < width; ++i) mean += x[row * stride + i];
        mean /= width;
        for (int64_t i = 0; i < width; ++i)
          variance += (x[row * stride + i] - mean) * (x[row * stride + i] - mean) / width;
        const long double divisor = std::sqrt(variance + kEpsilon);
        ASSERT_LE(Ulps(scale[row], divisor), 1);
        for (int64_t i = 0; i < width; ++i) {
          const long double exact = (x[row * stride + i] - mean) / divisor * gain[i] + bias[i];
          ASSERT_LE(Ulps(y[row * width + i], exact), 1) << width << ": " << row << ", " << i;
        }
      }
    });
  }
}

TEST(LayerNorm, TheScaleIsOptional) {
  const auto x = RandomFloats(40, 1), gain = RandomFloats(20, 2), bias = RandomFloats(20, 3);
  std::vector<float> with(40), without(40), scale(2);
  const Norm norm = {gain.data(), bias.data(), 20, kEpsilon};
  LayerNorm(norm, {x.data(), 20}, 2, with.data(), scale.data());
  LayerNorm(norm, {x.data(), 20}, 2, without.data(), nullptr);
  EXPECT_EQ(with, without);
}

}  // namespace
}  // namespace scalpel::kernels
