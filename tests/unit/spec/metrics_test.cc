// The numbers that metrics are made of, against their definitions.

#include "server/spec/metrics.h"

#include <ATen/Context.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/support/cpus.h"
#include "tests/unit/support/tiny.h"

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

TEST(LogProbs, DependOnlyOnTheirRow) {
  const at::Tensor logits = Random(7, 50257);
  const at::Tensor together = LogProbs(logits);
  const std::vector<double> normalizers = Normalizers(logits);
  test::OnEveryCpu([&] {
    EXPECT_TRUE(test::SameBits(LogProbs(logits), together));
    EXPECT_EQ(Normalizers(logits), normalizers);
    for (int64_t row = 0; row < 7; ++row) {
      const at::Tensor alone = LogProbs(logits[row].clone());
      EXPECT_TRUE(test::SameBits(alone, together[row])) << row;
    }
  });
}

// Both say the same of one id, whichever call asks.
TEST(LogProbs, AreLogitsMinusTheNormalizer) {
  const at::Tensor logits = Random(3, 500).transpose(0, 1).contiguous().transpose(0, 1);
  const std::vector<double> normalizers = Normalizers(logits);
  const at::Tensor log_probs = LogProbs(logits);
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t id = 0; id < 500; ++id) {
      EXPECT_EQ(log_probs[row][id].item<double>(),
                logits[row][id].item<float>() - normalizers[row]);
    }
  }
}

TEST(Probs, AreTheExponentialsAndAddUpToOne) {
  const at::Tensor log_probs = LogProbs(Random(3, 5000));
  const at::Tensor probs = Probs(log_probs);
  EXPECT_TRUE(at::allclose(probs, log_probs.exp(), 1e-15, 0));
  EXPECT_TRUE(at::allclose(probs.sum(1), at::ones({3}, at::kDouble), 1e-13, 0));
  test::OnEveryCpu([&] { EXPECT_TRUE(test::SameBits(Probs(log_probs), probs)); });
}

TEST(TopIds, DescendByLogitThenAscendById) {
  const std::vector<float> logits = {1, 3, 0, 3, -kInfinity, 2};
  EXPECT_THAT(TopIds(logits, 6), ElementsAre(1, 3, 5, 0, 2, 4));
  EXPECT_THAT(TopIds(logits, 2), ElementsAre(1, 3));
}

TEST(RankOf, IsTheIndexAmongTopIds) {
  const std::vector<float> logits = {1, 3, 0, 3, -kInfinity, 2};
  const std::vector<int32_t> order = TopIds(logits, 6);
  for (size_t place = 0; place < order.size(); ++place)
    EXPECT_EQ(RankOf(logits, order[place]), static_cast<int64_t>(place));
}

// One NaN among the logits makes every probability one, and an order none.
TEST(Metrics, ANaNLogitMakesEveryMetricNaN) {
  const std::vector<float> logits = {1, 3, kNan, 2};
  EXPECT_THAT(TopIds(logits, 2), ElementsAre(kNoToken, kNoToken));
  for (int32_t id = 0; id < 4; ++id) EXPECT_TRUE(std::isnan(RankOf(logits, id)));
  const at::Tensor bad = LogProbs(at::tensor({1.0f, 3.0f, kNan, 2.0f}));
  const at::Tensor good = LogProbs(at::tensor({1.0f, 3.0f, 0.0f, 2.0f}));
  const auto numbers = [](const at::Tensor& tensor) {
    return absl::Span<const double>(tensor.const_data_ptr<double>(), tensor.numel());
  };
  const at::Tensor bad_p = Probs(bad), good_p = Probs(good);
  EXPECT_TRUE(std::isnan(KlDivergence(numbers(bad_p), numbers(bad), numbers(good))));
  EXPECT_TRUE(std::isnan(KlDivergence(numbers(good_p), numbers(good), numbers(bad))));
  const at::Tensor infinite = LogProbs(at::tensor({1.0f, kInfinity, 0.0f, 2.0f}));
  const at::Tensor infinite_p = Probs(infinite);
  EXPECT_TRUE(std::isnan(KlDivergence(numbers(infinite_p), numbers(infinite), numbers(good))));
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

TEST(KlDivergence, AddsNothingForImpossibleIds) {
  const std::vector<double> p = {1, 0}, log_p = {0, -kInfinity},
                            log_q = {std::log(0.5), -kInfinity};
  EXPECT_NEAR(KlDivergence(p, log_p, log_q), std::log(2), 1e-15);
}

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

TEST(MeanLoss, IsTheSameOnEveryCpu) {
  const at::Tensor logits = Random(37, 200);
  const std::vector<int32_t> tokens(37, 11);
  const double loss = MeanLoss(logits, tokens);
  test::OnEveryCpu([&] { EXPECT_EQ(MeanLoss(logits, tokens), loss); });
}

}  // namespace
}  // namespace scalpel::spec
