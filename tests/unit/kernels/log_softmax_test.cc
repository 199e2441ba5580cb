// Compares log-probabilities with their definitions in long double, and the bits of all targets.

#include "server/kernels/log_softmax.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "server/kernels/math64.h"
#include "server/kernels/targets.h"

namespace scalpel::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class LogSoftmaxTest : public ::testing::Test {
 protected:
  void TearDown() override { ForceTarget(""); }
};

std::vector<float> Logits(int64_t count, float offset = -30) {
  std::mt19937 random(9);
  std::normal_distribution<float> normal(offset, 4.0f);
  std::vector<float> x(count);
  for (float& value : x) value = normal(random);
  return x;
}

double NormalizerOf(const std::vector<float>& x) {
  return LogSumExp(x.data(), static_cast<int64_t>(x.size()));
}

std::vector<double> LogProbsOf(const std::vector<float>& x) {
  std::vector<double> log_p(x.size());
  LogSoftmax(x.data(), log_p.data(), static_cast<int64_t>(x.size()));
  return log_p;
}

long double Reference(const std::vector<float>& x) {
  long double sum = 0;
  for (const float value : x) sum += std::exp(static_cast<long double>(value));
  return std::log(sum);
}

uint64_t Bits(double x) { return std::bit_cast<uint64_t>(x); }

TEST_F(LogSoftmaxTest, AgreesWithTheDefinition) {
  for (const int64_t count : {1, 2, 15, 16, 17, 300, 50257}) {
    for (const float offset : {-90.0f, 0.0f, 400.0f}) {
      const std::vector<float> x = Logits(count, offset);
      const double expected = static_cast<double>(Reference(x)), normalizer = NormalizerOf(x);
      EXPECT_NEAR(normalizer, expected, 4e-16 * std::abs(expected)) << count << " at " << offset;
      const std::vector<double> log_p = LogProbsOf(x);
      for (int64_t i = 0; i < count; ++i) EXPECT_EQ(log_p[i], x[i] - normalizer) << i;
    }
  }
}

TEST_F(LogSoftmaxTest, EveryTargetGivesTheSameBits) {
  for (int64_t count = 1; count < 400; count += count < 40 ? 1 : 37) {
    const std::vector<float> x = Logits(count), other = Logits(count, -29);
    ForceTarget("");
    const std::vector<double> log_p = LogProbsOf(x), log_q = LogProbsOf(other);
    std::vector<double> p = log_p;
    Exp(log_p.data(), p.data(), count);
    const double normalizer = NormalizerOf(x),
                 divergence = KlDivergence(p.data(), log_p.data(), log_q.data(), count);
    for (const std::string_view target : Targets()) {
      ForceTarget(target);
      EXPECT_EQ(Bits(NormalizerOf(x)), Bits(normalizer)) << target << " of " << count;
      EXPECT_EQ(std::memcmp(LogProbsOf(x).data(), log_p.data(), 8 * count), 0) << target;
      EXPECT_EQ(Bits(KlDivergence(p.data(), log_p.data(), log_q.data(), count)), Bits(divergence));
    }
  }
}

TEST_F(LogSoftmaxTest, WritesNothingPastTheEnd) {
  for (int64_t count = 1; count < 40; ++count) {
    const std::vector<float> x = Logits(count);
    std::vector<double> log_p(count + 1, 7.0);
    LogSoftmax(x.data(), log_p.data(), count);
    EXPECT_EQ(log_p[count], 7.0);
  }
}

TEST_F(LogSoftmaxTest, LargeLogitsDoNotOverflow) {
  EXPECT_EQ(NormalizerOf({3e38f, 0, -3e38f}), 3e38f);
  EXPECT_NEAR(NormalizerOf({1000, 1000}), 1000 + std::log(2.0), 1e-12);
  EXPECT_NEAR(NormalizerOf({-1000, -1000}), -1000 + std::log(2.0), 1e-12);
}

TEST_F(LogSoftmaxTest, HandlesInfinitiesAndNan) {
  const uint64_t nan = Bits(std::numeric_limits<double>::quiet_NaN());
  for (const std::string_view target : Targets()) {
    ForceTarget(target);
    EXPECT_EQ(NormalizerOf({1, kInfinity, 2}), kInfinity);
    EXPECT_EQ(NormalizerOf({-kInfinity, -kInfinity}), -kInfinity);
    EXPECT_EQ(NormalizerOf({5, -kInfinity}), 5);
    EXPECT_EQ(Bits(NormalizerOf({5, -kNan, kInfinity})), nan);
    const std::vector<double> masked = LogProbsOf({5, -kInfinity});
    EXPECT_EQ(masked[0], 0);
    EXPECT_EQ(masked[1], -kInfinity);
    for (const std::vector<float>& x : {std::vector<float>{kInfinity}, {-kInfinity}, {-kNan}})
      EXPECT_EQ(Bits(LogProbsOf(x)[0]), nan) << target << " of " << x[0];
  }
}

TEST_F(LogSoftmaxTest, DivergenceIgnoresImpossibleEntries) {
  const int64_t count = 1003;
  const std::vector<double> log_p = LogProbsOf(Logits(count)), log_q = LogProbsOf(Logits(count, 5));
  std::vector<double> p(count), shifted(log_q.rbegin(), log_q.rend());
  Exp(log_p.data(), p.data(), count);
  long double expected = 0;
  for (int64_t i = 0; i < count; ++i)
    expected += static_cast<long double>(p[i]) * (log_p[i] - shifted[i]);
  EXPECT_NEAR(KlDivergence(p.data(), log_p.data(), shifted.data(), count),
              static_cast<double>(expected), 1e-13);
  EXPECT_EQ(KlDivergence(p.data(), log_p.data(), log_p.data(), count), 0);

  const double certain[] = {1, 0, 0}, log_certain[] = {0, -kInfinity, -kInfinity},
               log_other[] = {std::log(0.5), std::log(0.5), -kInfinity};
  EXPECT_NEAR(KlDivergence(certain, log_certain, log_other, 3), std::log(2.0), 1e-15);
  const double possible[] = {0.5, 0.5}, log_possible[] = {std::log(0.5), std::log(0.5)},
               log_impossible[] = {0, -kInfinity};
  EXPECT_EQ(KlDivergence(possible, log_possible, log_impossible, 2), kInfinity);
}

}  // namespace
}  // namespace scalpel::kernels
