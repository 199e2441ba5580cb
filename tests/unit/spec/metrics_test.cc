// The numbers that metrics are made of, against their definitions.

#include "server/spec/metrics.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace scalpel::spec {
namespace {

using ::testing::ElementsAre;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

at::Tensor Random(int64_t rows, int64_t vocab) {
  at::manual_seed(5);
  return at::randn({rows, vocab}, at::kFloat) * 4;
}

absl::Span<const float> Floats(const at::Tensor& row) {
  return {row.const_data_ptr<float>(), static_cast<size_t>(row.numel())};
}

absl::Span<const double> Doubles(const at::Tensor& row) {
  return {row.const_data_ptr<double>(), static_cast<size_t>(row.numel())};
}

// The definition, in the widest type there is.
long double LogProb(absl::Span<const float> logits, int64_t id) {
  long double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<long double>(logit));
  return logits[id] - std::log(sum);
}

TEST(LogProbs, AreThoseOfTheSoftmax) {
  const at::Tensor logits = Random(3, 5000);
  const at::Tensor log_probs = LogProbs(logits);
  ASSERT_EQ(log_probs.scalar_type(), at::kDouble);
  for (const int64_t row : {0, 2}) {
    for (const int64_t id : {0, 17, 4999}) {
      EXPECT_NEAR(log_probs[row][id].item<double>(),
                  static_cast<double>(LogProb(Floats(logits[row]), id)), 1e-13);
    }
  }
}

// Larger than what a reduction is split at.
TEST(LogProbs, DependOnNothingBesideTheRow) {
  const at::Tensor logits = Random(7, 50257);
  const at::Tensor together = LogProbs(logits);
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    for (int64_t row = 0; row < 7; ++row) {
      const at::Tensor alone = LogProbs(logits[row].clone());
      EXPECT_EQ(std::memcmp(alone.const_data_ptr(), together[row].const_data_ptr(), alone.nbytes()),
                0)
          << row << " with " << threads << " threads";
    }
  }
}

TEST(TopIds, FallByLogitThenRiseById) {
  const std::vector<float> logits = {1, 3, kNan, 3, -kInfinity, 2};
  EXPECT_THAT(TopIds(logits, 6), ElementsAre(1, 3, 5, 0, 2, 4));
  EXPECT_THAT(TopIds(logits, 2), ElementsAre(1, 3));
}

TEST(RankOf, IsThePlaceInThatOrder) {
  const std::vector<float> logits = {1, 3, kNan, 3, -kInfinity, 2};
  const std::vector<int32_t> order = TopIds(logits, 6);
  for (size_t place = 0; place < order.size(); ++place)
    EXPECT_EQ(RankOf(logits, order[place]), static_cast<int64_t>(place));
}

TEST(KlDivergence, IsTheSumOverIds) {
  const at::Tensor p = LogProbs(Random(1, 300)).flatten();
  const at::Tensor q = LogProbs(Random(2, 300)[1]);
  double expected = 0;
  for (int64_t i = 0; i < 300; ++i) {
    const double log_p = p[i].item<double>();
    expected += std::exp(log_p) * (log_p - q[i].item<double>());
  }
  EXPECT_GT(expected, 0.1);
  EXPECT_NEAR(KlDivergence(Doubles(p.exp()), Doubles(p), Doubles(q)), expected, 1e-12);
  EXPECT_EQ(KlDivergence(Doubles(p.exp()), Doubles(p), Doubles(p)), 0);
}

TEST(KlDivergence, AddsNothingForWhatCannotBe) {
  const std::vector<double> p = {1, 0}, log_p = {0, -kInfinity},
                            log_q = {std::log(0.5), -kInfinity};
  EXPECT_NEAR(KlDivergence(p, log_p, log_q), std::log(2), 1e-15);
}

// More rows than are made at once.
TEST(MeanLoss, IsTheMeanOverPositions) {
  const at::Tensor logits = Random(37, 200);
  std::vector<int32_t> tokens;
  long double sum = 0;
  for (int32_t i = 0; i < 37; ++i) {
    tokens.push_back(5 * i);
    sum -= LogProb(Floats(logits[i]), 5 * i);
  }
  EXPECT_NEAR(MeanLoss(logits, tokens), static_cast<double>(sum / 37), 1e-13);
}

}  // namespace
}  // namespace scalpel::spec
