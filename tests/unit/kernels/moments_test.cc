// Compares sums with those in long double, and bit for bit with the order that lanes-inl.h
// promises.

#include "server/kernels/moments.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "server/kernels/math64.h"
#include "server/kernels/order.h"
#include "server/kernels/targets.h"

namespace scalpel::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kMean = 0.3;  // about which the central sums are taken here

using Row = std::vector<float>;

class Moments : public ::testing::Test {
 protected:
  void TearDown() override { ForceTarget(""); }
};

Row Normal(int64_t count, uint32_t seed = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.5f, 2.0f);
  Row x(count);
  for (float& value : x) value = normal(random);
  return x;
}

int64_t Size(const Row& x) { return static_cast<int64_t>(x.size()); }

// A sum: how the kernel computes it, and what each element adds to it, exactly and in double
// precision.
struct Case {
  std::function<double(const Row& x, const Row& y)> made;
  std::function<long double(long double x, long double y)> exact;
  std::function<double(double x, double y)> rounded;
};

double XLogX(double x) { return x == 0 ? 0 : x * Log(x); }

const std::map<std::string, Case>& Cases() {
  static const std::map<std::string, Case> cases = {
      {"Sum",
       {[](auto& x, auto&) { return Sum(x.data(), Size(x)); },  //
        [](auto x, auto) { return x; }, [](auto x, auto) { return x; }}},
      {"SumOfSquares",
       {[](auto& x, auto&) { return SumOfSquares(x.data(), Size(x)); },
        [](auto x, auto) { return x * x; }, [](auto x, auto) { return x * x; }}},
      {"CentralSquares",
       {[](auto& x, auto&) { return CentralSumsOf(x.data(), Size(x), kMean).squares; },
        [](auto x, auto) { return (x - kMean) * (x - kMean); },
        [](auto x, auto) { return (x - kMean) * (x - kMean); }}},
      {"CentralFourths",
       {[](auto& x, auto&) { return CentralSumsOf(x.data(), Size(x), kMean).fourths; },
        [](auto x, auto) { return std::pow(x - kMean, 4); },
        [](auto x, auto) {
          const double square = (x - kMean) * (x - kMean);
          return square * square;
        }}},
      {"Dot",
       {[](auto& x, auto& y) { return Dot(x.data(), y.data(), Size(x)); },
        [](auto x, auto y) { return x * y; }, [](auto x, auto y) { return x * y; }}},
      {"SquaredDistance",
       {[](auto& x, auto& y) { return SquaredDistance(x.data(), y.data(), Size(x)); },
        [](auto x, auto y) { return (x - y) * (x - y); },
        [](auto x, auto y) { return (x - y) * (x - y); }}},
      {"Entropy",
       {[](auto& x, auto&) {
          Row p = x;
          for (float& value : p) value = std::abs(value);
          return Entropy(p.data(), Size(p));
        },
        [](auto x, auto) { return x == 0 ? 0 : -std::abs(x) * std::log(std::abs(x)); },
        [](auto x, auto) { return -XLogX(std::abs(x)); }}},
  };
  return cases;
}

// The order that lanes-inl.h promises, in plain C++.
double InOrder(const Case& c, const Row& x, const Row& y) {
  std::array<double, 16> lanes{};
  for (size_t i = 0; i < x.size(); ++i) lanes[i % 16] += c.rounded(x[i], y[i]);
  for (int width = 8; width > 0; width /= 2) {
    for (int l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  }
  return lanes[0];
}

std::vector<int64_t> Counts() {
  std::vector<int64_t> counts;
  for (int64_t count = 1; count <= 70; ++count) counts.push_back(count);
  for (const int64_t count : {768, 1023, 4096, 50257}) counts.push_back(count);
  return counts;
}

TEST_F(Moments, AreAccurate) {
  for (const auto& [name, c] : Cases()) {
    for (const int64_t count : Counts()) {
      const Row x = Normal(count), y = Normal(count, 4);
      long double sum = 0, size = 0;
      for (int64_t i = 0; i < count; ++i) {
        sum += c.exact(x[i], y[i]);
        size += std::abs(c.exact(x[i], y[i]));
      }
      EXPECT_NEAR(c.made(x, y), static_cast<double>(sum), 1e-14 * static_cast<double>(size))
          << name << " of " << count;
    }
  }
}

TEST_F(Moments, EveryTargetAddsInThePromisedOrder) {
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    for (const auto& [name, c] : Cases()) {
      for (const int64_t count : Counts()) {
        const Row x = Normal(count), y = Normal(count, 4);
        EXPECT_EQ(std::bit_cast<uint64_t>(c.made(x, y)), std::bit_cast<uint64_t>(InOrder(c, x, y)))
            << name << " of " << count << " by " << target;
      }
    }
  }
}

// The result is always the default NaN, since CPUs differ in the signs of those that they make.
TEST_F(Moments, NanAnywhereMakesTheResultNan) {
  const uint64_t nan = std::bit_cast<uint64_t>(std::numeric_limits<double>::quiet_NaN());
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    for (int64_t place = 0; place < 37; ++place) {
      for (const float wrong : {kNan, -kNan}) {
        Row x = Normal(37);
        x[place] = wrong;
        for (const auto& [name, c] : Cases())
          EXPECT_EQ(std::bit_cast<uint64_t>(c.made(x, Normal(37))), nan) << name << " at " << place;
        const Extremes extremes = ExtremesOf(x.data(), 37);
        EXPECT_TRUE(std::isnan(extremes.min) && std::isnan(extremes.max)) << target << place;
        EXPECT_FALSE(std::signbit(extremes.min) || std::signbit(extremes.max));
      }
    }
  }
}

TEST_F(Moments, InfinitiesOfBothSignsAddUpToNan) {
  Row x = Normal(40);
  x[3] = kInfinity;
  EXPECT_EQ(Sum(x.data(), 40), kInfinity);
  EXPECT_EQ(SumOfSquares(x.data(), 40), kInfinity);
  EXPECT_TRUE(std::isnan(CentralSumsOf(x.data(), 40, kInfinity).squares));
  x[20] = -kInfinity;
  EXPECT_TRUE(std::isnan(Sum(x.data(), 40)));
  EXPECT_FALSE(std::signbit(Sum(x.data(), 40)));
}

TEST_F(Moments, EntropyOfZerosIsZero) {
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    const Row certain = {0, 1, -0.0f, 0}, even(4, 0.25f), negative = {0.5f, -0.5f};
    EXPECT_EQ(Entropy(certain.data(), 4), 0);
    EXPECT_NEAR(Entropy(even.data(), 4), std::log(4.0), 1e-15);
    EXPECT_TRUE(std::isnan(Entropy(negative.data(), 2)));
  }
}

TEST_F(Moments, ExtremesOfEveryCount) {
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    for (const int64_t count : Counts()) {
      Row x = Normal(count);
      const auto [min, max] = std::minmax_element(x.begin(), x.end());
      const Extremes extremes = ExtremesOf(x.data(), count);
      EXPECT_EQ(extremes.min, *min) << target << " of " << count;
      EXPECT_EQ(extremes.max, *max) << target << " of " << count;
      x[count / 2] = kInfinity;
      EXPECT_EQ(ExtremesOf(x.data(), count).max, kInfinity);
      x[count / 2] = -kInfinity;
      EXPECT_EQ(ExtremesOf(x.data(), count).min, -kInfinity);
    }
  }
}

TEST_F(Moments, ExtremesDistinguishTheZeros) {
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    for (int64_t place = 0; place < 37; ++place) {
      Row x(37, 0.0f);
      x[place] = -0.0f;
      EXPECT_TRUE(std::signbit(ExtremesOf(x.data(), 37).min)) << target << " at " << place;
      EXPECT_FALSE(std::signbit(ExtremesOf(x.data(), 37).max)) << target << " at " << place;
    }
  }
}

TEST_F(Moments, ZerosOfBothSignsCount) {
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    for (const int64_t count : Counts()) {
      Row x = Normal(count);
      EXPECT_EQ(CountZeros(x.data(), count), 0);
      int64_t zeros = 0;
      for (int64_t i = 0; i < count; i += 3, ++zeros) x[i] = i % 2 ? 0.0f : -0.0f;
      if (count > 1) x[1] = std::numeric_limits<float>::denorm_min();
      if (count > 2) x[2] = kNan;
      EXPECT_EQ(CountZeros(x.data(), count), zeros) << target << " of " << count;
    }
  }
}

TEST(OrderOf, IncreasesWithTheFloatsAndIsInvertible) {
  const Row rising = {-kNan, -kInfinity, -1.5f, -1e-45f,   -0.0f,
                      0.0f,  1e-45f,     1.5f,  kInfinity, kNan};
  for (size_t i = 0; i < rising.size(); ++i) {
    if (i > 0) {
      EXPECT_LT(OrderOf(rising[i - 1]), OrderOf(rising[i])) << rising[i];
    }
    EXPECT_EQ(std::bit_cast<uint32_t>(FromOrder(OrderOf(rising[i]))),
              std::bit_cast<uint32_t>(rising[i]));
  }
}

}  // namespace
}  // namespace scalpel::kernels
