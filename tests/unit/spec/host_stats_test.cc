// The statistics on the CPU against those by ATen's operations, and their bits on every CPU. What
// each statistic means is tested in stats_test.

#include "server/spec/host_stats.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "server/spec/device_stats.h"
#include "tests/unit/support/cpus.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::spec {
namespace {

using test::FromText;

// Every statistic, quantiles at and between samples, and a histogram.
v1::Probe Everything() {
  auto probe = FromText<v1::Probe>(
      "quantiles: [0, 0.01, 0.25, 0.3, 0.5, 0.77, 0.999, 1] histogram { bins: 7 min: -1.5 max: 2 "
      "}");
  for (int number = 1; number <= v1::Statistic_MAX; ++number)
    probe.add_statistics(static_cast<v1::Statistic>(number));
  return probe;
}

// Positive: they have an entropy. Zeros and equals are among them.
Samples Random(int64_t kept, int64_t reduced, int64_t inner) {
  at::manual_seed(8);
  const at::Tensor x = at::randn({kept, reduced}).abs_();
  x.view(-1).slice(0, 0, x.numel(), 5).zero_();
  x.view(-1).slice(0, 0, x.numel(), 7).fill_(0.25f);
  return {.x = x, .clean = at::randn({kept, reduced}), .inner = inner};
}

TEST(MeasureOnHost, AgreesWithMeasureOnDevice) {
  const v1::Probe probe = Everything();
  struct Shape {
    int64_t kept, reduced, inner;
  };
  for (const Shape& shape : {Shape{1, 2, 2}, Shape{1, 3, 1}, Shape{5, 12, 4}, Shape{3, 16, 16},
                             Shape{40, 17, 17}, Shape{2, 33 * 6, 33}, Shape{1, 768 * 64, 768}}) {
    const Samples samples = Random(shape.kept, shape.reduced, shape.inner);
    const at::Tensor host = MeasureOnHost(probe, samples), device = MeasureOnDevice(probe, samples);
    ASSERT_EQ(host.sizes(), device.sizes());
    for (int64_t i = 0; i < host.numel(); ++i) {
      const double expected = device[i].item<double>(), made = host[i].item<double>();
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(made)) << i << " of " << shape.kept << " x " << shape.reduced;
      } else {
        EXPECT_NEAR(made, expected, 1e-12 * std::max(1.0, std::abs(expected)))
            << i << " of " << shape.kept << " x " << shape.reduced;
      }
    }
  }
}

TEST(MeasureOnHost, GivesTheSameBitsOnEveryCpu) {
  const v1::Probe probe = Everything();
  // Enough rows for every thread.
  for (const Samples& samples : {Random(1, 5000, 50), Random(97, 24 * 30, 24), Random(3, 7, 7)}) {
    const at::Tensor first = MeasureOnHost(probe, samples);
    test::OnEveryCpu([&] { EXPECT_TRUE(test::SameBits(MeasureOnHost(probe, samples), first)); });
  }
}

TEST(MeasureOnHost, MeasuresEachRowByItself) {
  const v1::Probe probe = Everything();
  const Samples all = Random(4, 90, 9);
  const at::Tensor together = MeasureOnHost(probe, all);
  const int64_t flat = probe.statistics_size() + probe.quantiles_size();
  for (int64_t row = 0; row < 4; ++row) {
    const at::Tensor alone = MeasureOnHost(
        probe,
        {.x = all.x.narrow(0, row, 1), .clean = all.clean.narrow(0, row, 1), .inner = all.inner});
    EXPECT_TRUE(test::SameBits(alone.narrow(0, 0, flat),
                               together.narrow(0, 0, flat * 4).view({flat, 4}).select(1, row)));
  }
}

// The sign of a NaN that an operation makes depends on the CPU; 0 / 0 is one of them.
TEST(MeasureOnHost, ReturnsOnlyOneNan) {
  const v1::Probe probe = Everything();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {0.0f, infinity, -infinity, -std::numeric_limits<float>::quiet_NaN()}) {
    const at::Tensor x = at::full({1, 6}, value);
    const at::Tensor made = MeasureOnHost(probe, {.x = x, .clean = at::zeros({1, 6}), .inner = 3});
    const at::Tensor nan = made.masked_select(made.isnan());
    EXPECT_GT(nan.numel(), 0);
    EXPECT_TRUE(test::SameBits(nan, at::full_like(nan, std::numeric_limits<double>::quiet_NaN())));
  }
}

TEST(MeasureOnHost, QuantilesOfEqualInfinitiesAreInfinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto probe = FromText<v1::Probe>("quantiles: [0, 0.5, 1]");
  const at::Tensor made = MeasureOnHost(
      probe, {.x = at::tensor({-infinity, 1.0f, infinity}).view({1, 3}), .clean = {}, .inner = 3});
  EXPECT_TRUE(at::equal(made, at::tensor({-infinity, 1.0f, infinity}).to(at::kDouble)));
}

}  // namespace
}  // namespace scalpel::spec
