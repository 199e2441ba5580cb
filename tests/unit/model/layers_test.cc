#include "server/model/layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/kernels/targets.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::model {
namespace {

using test::Distance;
using test::SameBits;

// In the proportions of GPT-2's weights, so that sums neither vanish nor explode.
LinearWeights RandomLinear(int64_t in, int64_t out) {
  return {at::randn({in, out}) * 0.02, at::randn({out}) * 0.02};
}

TEST(Linear, EqualsAddmm) {
  // The difference is relative, and a sum that nearly vanishes has a large one: the numbers are the
  // same whichever tests ran before.
  at::manual_seed(0);
  for (const int64_t in : {15, 96, 288, 768}) {
    for (const int64_t out : {1, 37, 384, 3072}) {
      const LinearWeights weights = RandomLinear(in, out);
      const Linear linear(weights);
      for (const int64_t rows : {0, 1, 2, 9}) {
        const at::Tensor x = at::randn({rows, in});
        const at::Tensor exact = at::addmm(weights.bias.to(at::kDouble), x.to(at::kDouble),
                                           weights.weight.to(at::kDouble));
        ASSERT_EQ(linear(x).sizes(), exact.sizes());
        if (rows == 0) continue;
        EXPECT_LT(Distance(linear(x), exact), 1e-5)
            << in << " to " << out << ", " << rows << " rows";
      }
    }
  }
}

// The promise that batches, and looking at activations, rest upon: for every number of rows.
TEST(Linear, BitsOfARowDoNotDependOnTheNumberOfRows) {
  for (const auto& [in, out] : std::vector<std::pair<int64_t, int64_t>>{
           {15, 45}, {96, 288}, {384, 96}, {96, 2048}, {768, 768}}) {
    const Linear linear(RandomLinear(in, out));
    const at::Tensor x = at::randn({140, in}), sum = at::randn({140, out}), all = linear(x);
    const at::Tensor activated = linear.Activated(Activation::kGeluNew, x);
    const at::Tensor added = linear.AddedTo(sum, x);
    for (int64_t rows = 1; rows < 140; ++rows) {
      const int64_t first = (7 * rows) % (141 - rows);
      const auto part = [&](const at::Tensor& t) { return t.narrow(0, first, rows); };
      const std::string where = absl::StrCat(in, " to ", out, ": rows ", first, " + ", rows);
      ASSERT_TRUE(SameBits(linear(part(x)), part(all))) << where;
      ASSERT_TRUE(SameBits(linear.Activated(Activation::kGeluNew, part(x)), part(activated)))
          << where;
      ASSERT_TRUE(SameBits(linear.AddedTo(part(sum), part(x)), part(added))) << where;
    }
  }
}

// Whoever looks between two steps takes them one by one.
// A product that takes long asks, piece by piece, whether it is still needed.
TEST(Linear, LargeProductsGoOnOnlyWhileTheyAreNeeded) {
  constexpr int64_t kIn = 1000, kOut = 8000, kRows = 2500, kPiece = 1001;
  const Linear linear(RandomLinear(kIn, kOut));
  const at::Tensor x = at::randn({kRows, kIn}), sum = at::randn({kRows, kOut});
  int asked = 0;
  const at::Tensor y = linear.AddedTo(sum, x, [&] { return ++asked > 0; });
  EXPECT_EQ(asked, 2);
  for (const int64_t first : {0L, kPiece - 2, 2 * kPiece - 1, kRows - 3}) {
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, first, 3); };
    EXPECT_TRUE(SameBits(linear.AddedTo(part(sum), part(x)), part(y))) << first;
  }
  const at::Tensor begun = linear.Activated(Activation::kLinear, x, [&] { return ++asked < 4; });
  EXPECT_EQ(asked, 4);
  EXPECT_TRUE(SameBits(begun.narrow(0, 2 * kPiece - 3, 3), linear(x.narrow(0, 2 * kPiece - 3, 3))));
  EXPECT_TRUE(linear(x.narrow(0, 0, 1), [] { return false; }).isfinite().all().item<bool>());
}

TEST(Linear, FusedStepsEqualSeparateSteps) {
  const Linear linear(RandomLinear(96, 200));
  const at::Tensor x = at::randn({21, 96}), sum = at::randn({21, 200});
  for (int i = 0; i <= static_cast<int>(Activation::kLinear); ++i) {
    const auto activation = static_cast<Activation>(i);
    EXPECT_TRUE(SameBits(linear.Activated(activation, x), Activate(activation, linear(x))))
        << ActivationName(activation);
  }
  EXPECT_TRUE(SameBits(linear.AddedTo(sum, x), sum + linear(x)));
}

TEST(Linear, PartsAddUp) {
  const LinearWeights weights = RandomLinear(96, 70);
  const Linear linear(weights);
  const at::Tensor x = at::randn({11, 96});
  at::Tensor sum = weights.bias.to(at::kDouble).expand({11, 70});
  for (int64_t first = 0; first < 96; first += 24) {
    const at::Tensor part = linear.Part(x.narrow(1, first, 24), first);
    const at::Tensor exact = at::mm(x.narrow(1, first, 24).to(at::kDouble),
                                    weights.weight.narrow(0, first, 24).to(at::kDouble));
    EXPECT_LT(Distance(part, exact), 1e-6) << first;
    sum = sum + part;
  }
  EXPECT_LT(Distance(linear(x), sum), 1e-6);
}

TEST(Linear, WorksWithoutBiasAndOnStridedRows) {
  const LinearWeights weights = {at::randn({15, 7}), at::Tensor()};
  const at::Tensor wide = at::randn({4, 45}), x = wide.narrow(1, 15, 15);
  const Linear linear(weights);
  EXPECT_LT(Distance(linear(x), at::mm(x, weights.weight)), 1e-5);
  EXPECT_LT(Distance(linear(x.narrow(0, 2, 1)), at::mm(x.narrow(0, 2, 1), weights.weight)), 1e-5);
  EXPECT_TRUE(SameBits(linear(x.t().contiguous().t()), linear(x)));  // columns side by side
}

TEST(KernelsName, NamesTheCpusOrTheGpusKernels) {
  EXPECT_THAT(KernelsName(at::kCPU), ::testing::AnyOf("avx512", "avx2", "neon", "portable"));
  EXPECT_EQ(KernelsName(at::kCUDA), "cublas");
}

TEST(UseVectors, AcceptsOnlyWhatThisCpuSupports) {
  const std::string best = KernelsName(at::kCPU);
  EXPECT_TRUE(UseVectors("portable").ok());
  EXPECT_EQ(KernelsName(at::kCPU), "portable");
  kernels::ForceTarget("");
  EXPECT_TRUE(UseVectors("auto").ok());
  EXPECT_EQ(KernelsName(at::kCPU), best);
  const absl::Status none = UseVectors("neon");  // no CPU has these and those of x86
  if (best == "neon") return;
  EXPECT_EQ(none.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(none.message()), ::testing::HasSubstr("it has " + best));
}

// The formulas of server/kernels/activation.h.
double Formula(Activation activation, double x) {
  const double gelu = 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))),
               sigmoid = 1 / (1 + std::exp(-x));
  switch (activation) {
    case Activation::kGeluNew:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kGelu:
      return gelu;
    case Activation::kGelu10:
      return std::min(10.0, std::max(-10.0, gelu));
    case Activation::kQuickGelu:
      return x / (1 + std::exp(-1.702 * x));
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kRelu2:
      return std::pow(std::max(x, 0.0), 2);
    case Activation::kRelu6:
      return std::min(6.0, std::max(x, 0.0));
    case Activation::kLeakyRelu:
      return x > 0 ? x : 0.01 * x;
    case Activation::kSilu:
      return x * sigmoid;
    case Activation::kMish:
      return x * std::tanh(std::log1p(std::exp(x)));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return sigmoid;
    case Activation::kLaplace:
      return 0.5 * (1 + std::erf((x - 0.707107) / (0.282095 * std::sqrt(2.0))));
    case Activation::kLinear:
      return x;
  }
  return NAN;
}

TEST(Activate, EqualsTheFormula) {
  const at::Tensor x = at::linspace(-12, 12, 241);
  for (int i = 0; i <= static_cast<int>(Activation::kLinear); ++i) {
    const auto activation = static_cast<Activation>(i);
    const at::Tensor y = Activate(activation, x.unsqueeze(0))[0];
    for (int64_t j = 0; j < x.numel(); ++j) {
      const double expected = Formula(activation, x[j].item<float>());
      ASSERT_NEAR(y[j].item<float>(), expected, 2e-6 * (1 + std::abs(expected)))
          << ActivationName(activation) << " of " << x[j].item<float>();
    }
    y.zero_();  // fresh: an edit of what comes after must not reach what came before
    EXPECT_EQ(x.abs().max().item<float>(), 12) << ActivationName(activation);
  }
}

TEST(LayerNorm, EqualsLibtorch) {
  const at::Tensor x = at::randn({9, 130}) * 3 + 1;
  const LayerNormWeights weights = {at::randn({130}), at::randn({130})};
  const auto [out, mean, reciprocal] = at::native_layer_norm(
      x.to(at::kDouble), {130}, weights.gain.to(at::kDouble), weights.bias.to(at::kDouble), 1e-5);
  const Normed normed = LayerNorm(x, weights, 1e-5, /*with_scale=*/true);
  EXPECT_LT(Distance(normed.out, out), 1e-7);
  EXPECT_LT(Distance(normed.scale, reciprocal.reciprocal()), 1e-7);
  EXPECT_FALSE(LayerNorm(x, weights, 1e-5, /*with_scale=*/false).scale.defined());
}

}  // namespace
}  // namespace scalpel::model
