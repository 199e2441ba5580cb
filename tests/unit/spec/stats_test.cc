// Every statistic against torch's own, or against a value worked out by hand.

#include "server/spec/stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "server/contract/statistics.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::spec {
namespace {

using test::FromText;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Region Whole(const at::Tensor& x) {
  std::vector<IndexSet> axes;
  for (const int64_t size : x.sizes()) axes.push_back(IndexSet::Arithmetic(0, size, 1));
  return Region(axes);
}

// The probe's answer where `x` is all of a site.
v1::ProbeResult Measured(const std::string& probe_text, v1::Site site, const at::Tensor& x,
                         const at::Tensor& clean = {}) {
  const auto probe = FromText<v1::Probe>(probe_text);
  const Region region = Whole(x);
  const at::Tensor numbers = Measure(probe, *FindSite(site), region, x, clean);
  EXPECT_EQ(numbers.numel(), MeasuredCount(probe, *FindSite(site), region)) << probe_text;
  EXPECT_EQ(numbers.scalar_type(), at::kDouble);
  v1::ProbeResult result;
  FillResult(probe, *FindSite(site), region,
             {numbers.const_data_ptr<double>(), static_cast<size_t>(numbers.numel())}, &result);
  return result;
}

std::vector<double> Values(const v1::ProbeResult& result, int i = 0) {
  const auto& values = result.statistics(i).values();
  return {values.begin(), values.end()};
}

// A statistic of a vector, seen as one position of the residual stream.
double Of(v1::Statistic statistic, const at::Tensor& x, const at::Tensor& clean = {}) {
  const at::Tensor row = x.view({1, -1});
  return Values(Measured("statistics: " + v1::Statistic_Name(statistic), v1::SITE_RESID_POST, row,
                         clean.defined() ? clean.view({1, -1}) : clean))[0];
}

using Reference = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& clean)>;

// By statistic, what it is of a vector of doubles.
const std::map<v1::Statistic, Reference>& References() {
  static const std::map<v1::Statistic, Reference> references = {
      {v1::STATISTIC_MEAN, [](auto& x, auto&) { return x.mean(); }},
      {v1::STATISTIC_STD, [](auto& x, auto&) { return x.std(); }},
      {v1::STATISTIC_VARIANCE, [](auto& x, auto&) { return x.var(); }},
      {v1::STATISTIC_MIN, [](auto& x, auto&) { return x.min(); }},
      {v1::STATISTIC_MAX, [](auto& x, auto&) { return x.max(); }},
      {v1::STATISTIC_ABS_MAX, [](auto& x, auto&) { return at::maximum(x.max(), -x.min()); }},
      {v1::STATISTIC_L2_NORM, [](auto& x, auto&) { return x.norm(); }},
      {v1::STATISTIC_RMS, [](auto& x, auto&) { return x.norm() / std::sqrt(x.numel()); }},
      {v1::STATISTIC_KURTOSIS,
       [](auto& x, auto&) { return ((x - x.mean()) / x.std(/*unbiased=*/false)).pow(4).mean(); }},
      {v1::STATISTIC_ZERO_FRACTION, [](auto& x, auto&) { return (x == 0).to(at::kDouble).mean(); }},
      {v1::STATISTIC_RELATIVE_L2,
       [](auto& x, auto& clean) { return (x - clean).norm() / clean.norm(); }},
      {v1::STATISTIC_COSINE,
       [](auto& x, auto& clean) { return at::dot(x, clean) / x.norm() / clean.norm(); }},
  };
  return references;
}

// Those that are made of vectors are tested apart.
TEST(Measure, EveryStatisticHasAReference) {
  for (int number = 1; number <= v1::Statistic_MAX; ++number) {
    const auto statistic = static_cast<v1::Statistic>(number);
    EXPECT_NE(References().contains(statistic), contract::FactsOf(statistic).of_vectors())
        << v1::Statistic_Name(statistic);
  }
}

// For every subset of kept axes, one number for each of their indices: that of the rest.
TEST(Measure, EveryStatisticKeepsEveryCombinationOfAxes) {
  const at::Tensor x = at::randn({4, 3, 5}), clean = at::randn({4, 3, 5});
  x[1][2].narrow(0, 1, 3).zero_();
  const std::vector<v1::Axis> axes = {v1::AXIS_POSITION, v1::AXIS_HEAD, v1::AXIS_UNIT};
  for (int subset = 0; subset < 7;
       ++subset) {  // keeping all three leaves one element: tested apart
    v1::Probe probe;
    std::vector<int64_t> kept, reduced, shape;
    for (int i = 0; i < 3; ++i) {
      (subset >> i & 1 ? kept : reduced).push_back(i);
      if (subset >> i & 1) probe.add_keep(axes[i]);
      if (subset >> i & 1) shape.push_back(x.size(i));
    }
    for (const auto& [statistic, reference] : References()) probe.add_statistics(statistic);
    const v1::ProbeResult result = Measured(probe.DebugString(), v1::SITE_Z, x, clean);
    EXPECT_EQ(std::vector<int64_t>(result.shape().begin(), result.shape().end()), shape);
    std::vector<int64_t> order = kept;
    order.insert(order.end(), reduced.begin(), reduced.end());
    int64_t count = 1;
    for (const int64_t length : shape) count *= length;
    const auto rows = [&](const at::Tensor& t) {
      return t.to(at::kDouble).permute(order).reshape({count, -1});
    };
    int i = 0;
    for (const auto& [statistic, reference] : References()) {
      EXPECT_EQ(result.statistics(i).statistic(), statistic);
      const std::vector<double> values = Values(result, i++);
      ASSERT_EQ(static_cast<int64_t>(values.size()), rows(x).size(0));
      for (size_t row = 0; row < values.size(); ++row) {
        const double expected = reference(rows(x)[row], rows(clean)[row]).template item<double>();
        EXPECT_NEAR(values[row], expected, 1e-9 * (1 + std::abs(expected)))
            << v1::Statistic_Name(statistic) << " keeping " << subset;
      }
    }
  }
}

TEST(Measure, AgreesWithValuesByHand) {
  const at::Tensor x = at::tensor({1.0f, 2.0f, 3.0f, -6.0f});
  EXPECT_EQ(Of(v1::STATISTIC_MEAN, x), 0);
  EXPECT_NEAR(Of(v1::STATISTIC_VARIANCE, x), 50.0 / 3, 1e-12);
  EXPECT_NEAR(Of(v1::STATISTIC_KURTOSIS, x), 4 * (1 + 16 + 81 + 1296) / 2500.0, 1e-12);
  EXPECT_EQ(Of(v1::STATISTIC_ABS_MAX, x), 6);
  EXPECT_NEAR(Of(v1::STATISTIC_RMS, x), std::sqrt(12.5), 1e-12);
  EXPECT_EQ(Of(v1::STATISTIC_ZERO_FRACTION, at::tensor({0.0f, -0.0f, 1e-38f, 5.0f})), 0.5);
  EXPECT_NEAR(Of(v1::STATISTIC_COSINE, x, -x), -1, 1e-12);
  EXPECT_EQ(Of(v1::STATISTIC_RELATIVE_L2, x, x), 0);
  EXPECT_NEAR(Of(v1::STATISTIC_RELATIVE_L2, 3 * x, x), 2, 1e-12);
}

// A large offset leaves no digits in E[x^2] - E[x]^2.
TEST(Measure, SubtractsTheMeanFirst) {
  EXPECT_NEAR(Of(v1::STATISTIC_STD, at::tensor({16777214.0f, 16777215.0f, 16777216.0f})), 1, 1e-9);
}

TEST(Measure, NormsOfTheInnermostAxisVectors) {
  const at::Tensor x =
      at::tensor({3.0f, 4.0f, 6.0f, 8.0f, 0.0f, 0.0f, 5.0f, 12.0f}).view({2, 2, 2});
  const std::string probe = "statistics: STATISTIC_MEAN_L2_NORM ";
  EXPECT_THAT(Values(Measured(probe, v1::SITE_Z, x)), ElementsAre((5 + 10 + 0 + 13) / 4.0));
  EXPECT_THAT(Values(Measured(probe + "keep: AXIS_HEAD", v1::SITE_Z, x)), ElementsAre(2.5, 11.5));
  EXPECT_THAT(Values(Measured(probe + "keep: AXIS_POSITION", v1::SITE_Z, x)),
              ElementsAre(7.5, 6.5));
  // One unit of each head: what is left of the innermost axis is one number, and the heads are
  // strided.
  EXPECT_THAT(Values(Measured(probe + "keep: AXIS_HEAD", v1::SITE_Z, x.narrow(2, 1, 1))),
              ElementsAre(2, 10));
}

TEST(Measure, EntropyOfAttentionIsInNatsOverTheKeys) {
  at::Tensor pattern = at::zeros({2, 3, 3});
  pattern.select(0, 0).copy_(
      at::tensor({1.0f, 0.0f, 0.0f, 0.5f, 0.5f, 0.0f, 0.25f, 0.25f, 0.5f}).view({3, 3}));
  pattern.select(0, 1).select(1, 0).fill_(1);
  const std::string probe = "statistics: STATISTIC_ENTROPY ";
  const double ln2 = std::log(2.0);
  const auto heads = Values(Measured(probe + "keep: AXIS_HEAD", v1::SITE_PATTERN, pattern));
  EXPECT_NEAR(heads[0], (0 + ln2 + 1.5 * ln2) / 3, 1e-12);
  EXPECT_EQ(heads[1], 0);
  const auto queries = Values(Measured(probe + "keep: [AXIS_QUERY]", v1::SITE_PATTERN, pattern));
  EXPECT_NEAR(queries[2], 1.5 * ln2 / 2, 1e-12);
  EXPECT_NEAR(Values(Measured(probe, v1::SITE_PATTERN, pattern))[0], 2.5 * ln2 / 6, 1e-12);
}

TEST(Measure, CountsOnlyScoresUpToTheQuery) {
  const float none = -std::numeric_limits<float>::infinity();
  const at::Tensor scores =
      at::tensor({1.0f, none, 2.0f, 3.0f, -1.0f, none, -5.0f, 4.0f}).view({2, 2, 2});
  const std::string probe = "statistics: [STATISTIC_MEAN, STATISTIC_MIN] quantiles: 0.5 ";
  const auto result = Measured(probe + "keep: AXIS_HEAD", v1::SITE_ATTN_SCORES, scores);
  EXPECT_THAT(Values(result, 0), ElementsAre(2, -2.0 / 3));
  EXPECT_THAT(Values(result, 1), ElementsAre(1, -5));
  EXPECT_THAT(result.quantiles(0).values(), ElementsAre(2, -1));
  EXPECT_NEAR(Values(Measured(probe, v1::SITE_ATTN_SCORES, scores), 0)[0], 4.0 / 6, 1e-12);
}

TEST(Measure, OfOneElementHasNoStd) {
  const at::Tensor x = at::tensor({2.5f});
  for (const auto statistic : {v1::STATISTIC_STD, v1::STATISTIC_VARIANCE, v1::STATISTIC_KURTOSIS}) {
    EXPECT_TRUE(std::isnan(Of(statistic, x))) << v1::Statistic_Name(statistic);
  }
  for (const auto statistic :
       {v1::STATISTIC_MEAN, v1::STATISTIC_MIN, v1::STATISTIC_MAX, v1::STATISTIC_L2_NORM,
        v1::STATISTIC_MEAN_L2_NORM, v1::STATISTIC_RMS}) {
    EXPECT_EQ(Of(statistic, x), 2.5) << v1::Statistic_Name(statistic);
  }
  const auto result = Measured("quantiles: [0, 0.3, 1]", v1::SITE_RESID_POST, x.view({1, 1}));
  for (const auto& quantile : result.quantiles()) EXPECT_THAT(quantile.values(), ElementsAre(2.5));
}

TEST(Measure, PropagatesNaN) {
  const at::Tensor x = at::tensor({1.0f, static_cast<float>(kNaN), 3.0f});
  for (int number = 1; number <= v1::Statistic_MAX; ++number) {
    const auto statistic = static_cast<v1::Statistic>(number);
    if (statistic == v1::STATISTIC_ZERO_FRACTION || statistic == v1::STATISTIC_ENTROPY) continue;
    EXPECT_TRUE(std::isnan(Of(statistic, x, at::ones({3})))) << v1::Statistic_Name(statistic);
  }
  const auto result = Measured("quantiles: [0, 0.5] histogram { bins: 2 min: 0 max: 4 }",
                               v1::SITE_RESID_POST, x.view({1, 3}));
  EXPECT_TRUE(std::isnan(result.quantiles(0).values(0)));
  EXPECT_TRUE(std::isnan(result.quantiles(1).values(0)));
  EXPECT_THAT(result.histogram().counts(), ElementsAre(1, 1));  // in no bin, and on neither side
  EXPECT_THAT(result.histogram().below(), ElementsAre(0));
  EXPECT_THAT(result.histogram().above(), ElementsAre(0));
}

TEST(Measure, QuantilesEqualTorchs) {
  const at::Tensor x = at::randn({6, 7});
  v1::Probe probe;
  probe.add_keep(v1::AXIS_UNIT);
  std::vector<double> asked;
  for (int i = 0; i <= 20; ++i) asked.push_back(i / 20.0);
  for (const double q : asked) probe.add_quantiles(q);
  const auto result = Measured(probe.DebugString(), v1::SITE_RESID_POST, x);
  for (size_t i = 0; i < asked.size(); ++i) {
    EXPECT_EQ(result.quantiles(i).quantile(), asked[i]);
    const at::Tensor expected = at::quantile(x.to(at::kDouble), asked[i], /*dim=*/0);
    for (int64_t unit = 0; unit < 7; ++unit) {
      EXPECT_DOUBLE_EQ(result.quantiles(i).values(unit), expected[unit].item<double>());
    }
  }
}

TEST(Measure, QuantilesAreFiniteUnlessTheyTouchAnInfinity) {
  const float infinity = std::numeric_limits<float>::infinity();
  const at::Tensor x = at::tensor({1.0f, 2.0f, infinity}).view({1, 3});
  const auto result = Measured("quantiles: [0, 0.5]", v1::SITE_RESID_POST, x);
  EXPECT_EQ(result.quantiles(0).values(0), 1);
  EXPECT_EQ(result.quantiles(1).values(0), 2);
}

TEST(Measure, HistogramEdges) {
  // Bins [0, 1), [1, 2), [2, 3]: a lower edge belongs to its bin, the last upper edge too.
  const at::Tensor x =
      at::tensor({-1e-6f, 0.0f, 0.999f, 1.0f, 2.0f, 2.5f, 3.0f, 3.001f, 9e9f, -9e9f}).view({1, 10});
  const auto result = Measured("histogram { bins: 3 min: 0 max: 3 }", v1::SITE_RESID_POST, x);
  EXPECT_THAT(result.shape(), IsEmpty());
  EXPECT_THAT(result.histogram().counts(), ElementsAre(2, 1, 3));
  EXPECT_THAT(result.histogram().below(), ElementsAre(2));
  EXPECT_THAT(result.histogram().above(), ElementsAre(2));
  const at::Tensor two = at::tensor({0.5f, 1.5f, -1.0f, 1.0f}).view({2, 2});
  const auto kept =
      Measured("keep: AXIS_POSITION histogram { bins: 2 min: 0 max: 2 }", v1::SITE_RESID_POST, two);
  EXPECT_THAT(kept.shape(), ElementsAre(2));
  EXPECT_THAT(kept.histogram().counts(), ElementsAre(1, 1, 0, 1));
  EXPECT_THAT(kept.histogram().below(), ElementsAre(0, 1));
  EXPECT_THAT(kept.histogram().above(), ElementsAre(0, 0));
}

TEST(NeedsClean, IsTrueOnlyForRelativeL2AndCosine) {
  for (int number = 1; number <= v1::Statistic_MAX; ++number) {
    v1::Probe probe;
    probe.add_statistics(static_cast<v1::Statistic>(number));
    EXPECT_EQ(NeedsClean(probe),
              number == v1::STATISTIC_RELATIVE_L2 || number == v1::STATISTIC_COSINE);
  }
}

}  // namespace
}  // namespace scalpel::spec
