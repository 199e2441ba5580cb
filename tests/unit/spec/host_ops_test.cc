// Means and projections against the same in long doubles, and their bits on every CPU.

#include "server/spec/host_ops.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/unit/support/cpus.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::spec {
namespace {

at::Tensor Random(at::IntArrayRef shape) {
  at::manual_seed(6);
  return at::randn(shape) * 3 + 1;
}

TEST(MeanOnHost, IsRoundedOnce) {
  for (const int64_t axis : {0, 1, 2}) {
    const at::Tensor x = Random({5, 37, 11}), mean = MeanOnHost(x, axis);
    const at::Tensor expected = x.to(at::kDouble).mean(axis, /*keepdim=*/true).to(at::kFloat);
    EXPECT_TRUE(at::equal(mean, expected)) << axis;
  }
}

// In float32 the ones would be lost one by one.
TEST(MeanOnHost, AddsInDoublePrecision) {
  const at::Tensor x = at::ones({65, 3});
  x[0].fill_(0x1p30f);
  EXPECT_TRUE(at::equal(MeanOnHost(x, 0), at::full({1, 3}, (0x1p30f + 64.0) / 65).to(at::kFloat)));
}

TEST(MeanOnHost, GivesTheSameBitsOnEveryCpu) {
  const at::Tensor x = Random({19, 70, 33}), first = MeanOnHost(x, 1);
  test::OnEveryCpu([&] { EXPECT_TRUE(test::SameBits(MeanOnHost(x, 1), first)); });
}

TEST(MeanOnHost, PropagatesNanAndInfinity) {
  const at::Tensor x = Random({4, 3});
  x[2][0] = -std::numeric_limits<float>::quiet_NaN();
  x[1][1] = std::numeric_limits<float>::infinity();
  const at::Tensor mean = MeanOnHost(x, 0);
  EXPECT_TRUE(std::isnan(mean[0][0].item<float>()));
  EXPECT_FALSE(std::signbit(mean[0][0].item<float>()));
  EXPECT_EQ(mean[0][1].item<float>(), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isfinite(mean[0][2].item<float>()));
}

TEST(RescaleDirectionOnHost, IsRoundedOnce) {
  for (const int64_t length : {1, 6, 64, 77}) {
    const at::Tensor x = Random({4, 5, length}), direction = Random({length});
    for (const double factor : {0.0, 1.0, -2.5}) {
      const at::Tensor result = RescaleDirectionOnHost(x, direction, factor);
      const at::Tensor wide = x.to(at::kDouble), u = direction.to(at::kDouble);
      const at::Tensor along = (wide * u).sum(-1, /*keepdim=*/true) / u.square().sum();
      const at::Tensor exact = wide + along * u * (factor - 1);
      // Half a place of the result; where it cancels, a last place of what it is made of in double.
      const at::Tensor most = exact.abs() * 0x1p-24 + 1e-14;
      EXPECT_TRUE(((result.to(at::kDouble) - exact).abs() <= most).all().item<bool>())
          << length << " by " << factor;
    }
  }
}

// The squares of so short and so long a direction are no float32.
TEST(RescaleDirectionOnHost, DoesNotDependOnTheLengthOfTheDirection) {
  const at::Tensor x = Random({4, 6}), direction = at::ones({6});
  const at::Tensor removed = RescaleDirectionOnHost(x, direction, 0);
  for (const float length : {1e-38f, 1e-30f, 1e-19f, 1e19f, 1e30f, 3e38f}) {
    EXPECT_TRUE(
        at::allclose(RescaleDirectionOnHost(x, direction * length, 0), removed, 1e-6, 1e-6));
  }
}

TEST(RescaleDirectionOnHost, GivesTheSameBitsOnEveryCpu) {
  const at::Tensor x = Random({700, 3, 77}).transpose(0, 1), direction = Random({77});
  const at::Tensor first = RescaleDirectionOnHost(x, direction, -0.5);
  test::OnEveryCpu([&] {
    EXPECT_TRUE(test::SameBits(RescaleDirectionOnHost(x, direction, -0.5), first));
    const at::Tensor alone = RescaleDirectionOnHost(x[1][9].clone(), direction, -0.5);
    EXPECT_TRUE(test::SameBits(alone, first[1][9]));
  });
}

}  // namespace
}  // namespace scalpel::spec
