#include "server/model/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "tests/unit/support/tiny.h"

namespace scalpel::model {
namespace {

using test::Distance;
using test::SameBits;

// In the proportions of GPT-2's weights, so that sums neither vanish nor explode.
LinearWeights RandomLinear(int64_t in, int64_t out) {
  return {at::randn({in, out}) * 0.02, at::randn({out}) * 0.02};
}

TEST(Linear, PackedEqualsAddmm) {
  ASSERT_EQ(ChooseLinearKernel(at::kCPU), LinearKernel::kMkldnnPacked);
  for (const int64_t in : {15, 96, 288, 768}) {
    for (const int64_t out : {1, 37, 384, 3072}) {
      const LinearWeights weights = RandomLinear(in, out);
      const Linear packed(weights, LinearKernel::kMkldnnPacked), blas(weights, LinearKernel::kBlas);
      for (const int64_t rows : {1, 2, 9}) {
        const at::Tensor x = at::randn({rows, in});
        const at::Tensor exact = at::addmm(weights.bias.to(at::kDouble), x.to(at::kDouble),
                                           weights.weight.to(at::kDouble));
        EXPECT_LT(Distance(packed(x), exact), 1e-5)
            << in << " to " << out << ", " << rows << " rows";
        EXPECT_LT(Distance(blas(x), exact), 1e-5);
      }
    }
  }
}

// The promise that batches, and looking at activations, rest upon.
TEST(Linear, BitsOfARowDoNotDependOnTheNumberOfRows) {
  for (const auto& [in, out] : std::vector<std::pair<int64_t, int64_t>>{{15, 45},
                                                                        {96, 288},
                                                                        {96, 384},
                                                                        {384, 96},
                                                                        {288, 96},
                                                                        {96, 2048},
                                                                        {768, 768},
                                                                        {768, 3072},
                                                                        {3072, 768}}) {
    const Linear linear(RandomLinear(in, out), LinearKernel::kMkldnnPacked);
    const at::Tensor x = at::randn({300, in}), all = linear(x);
    const at::Tensor activated = linear.Activated(Activation::kGeluNew, x);
    for (const int64_t rows : {1, 2, 3, 7, 15, 16, 17, 64}) {
      for (const int64_t first : {0, 5, 236}) {
        const at::Tensor some = x.narrow(0, first, rows);
        EXPECT_TRUE(SameBits(linear(some), all.narrow(0, first, rows)))
            << in << " to " << out << ": rows " << first << " + " << rows;
        EXPECT_TRUE(SameBits(linear.Activated(Activation::kGeluNew, some),
                             activated.narrow(0, first, rows)))
            << in << " to " << out << ", fused: rows " << first << " + " << rows;
      }
    }
  }
}

TEST(Linear, WorksWithoutBiasAndOnStridedRows) {
  const LinearWeights weights = {at::randn({15, 7}), at::Tensor()};
  const at::Tensor wide = at::randn({4, 45}), x = wide.narrow(1, 15, 15);
  for (const LinearKernel kernel : {LinearKernel::kMkldnnPacked, LinearKernel::kBlas}) {
    const Linear linear(weights, kernel);
    EXPECT_LT(Distance(linear(x), at::mm(x, weights.weight)), 1e-5);
    EXPECT_LT(Distance(linear(x.narrow(0, 2, 1)), at::mm(x.narrow(0, 2, 1), weights.weight)), 1e-5);
  }
}

TEST(Linear, KernelsAreNamed) {
  EXPECT_EQ(LinearKernelName(LinearKernel::kMkldnnPacked, at::kCPU), "mkldnn-packed");
  EXPECT_EQ(LinearKernelName(LinearKernel::kBlas, at::kCPU), "blas");
  EXPECT_EQ(LinearKernelName(LinearKernel::kBlas, at::kCUDA), "cublas");
  EXPECT_EQ(ChooseLinearKernel(at::kMeta), LinearKernel::kBlas);
}

// The formulas of server/model/config.h.
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

TEST(Activate, EachIsItsFormula) {
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

TEST(Linear, FusedActivationIsItsFormula) {
  const at::Tensor x = at::linspace(-12, 12, 241).unsqueeze(1);
  const LinearWeights weights = {at::ones({1, 16}), at::zeros({16})};  // y = x, sixteen times
  for (const LinearKernel kernel : {LinearKernel::kMkldnnPacked, LinearKernel::kBlas}) {
    const Linear linear(weights, kernel);
    EXPECT_EQ(linear.Fuses(Activation::kGeluNew), kernel == LinearKernel::kMkldnnPacked);
    for (const Activation activation : {Activation::kGeluNew, Activation::kRelu}) {
      const at::Tensor y = linear.Activated(activation, x);
      for (int64_t j = 0; j < x.numel(); ++j) {
        const double expected = Formula(activation, x[j].item<float>());
        ASSERT_NEAR(y[j][j % 16].item<float>(), expected, 2e-6 * (1 + std::abs(expected)))
            << ActivationName(activation) << " of " << x[j].item<float>();
      }
    }
  }
}

// Vectorised loops leave a tail to scalar code with other roundings; where a row's tail falls must
// not depend on the rows around it.
TEST(Activate, BitsOfARowDoNotDependOnTheNumberOfRows) {
  for (int i = 0; i <= static_cast<int>(Activation::kLinear); ++i) {
    const auto activation = static_cast<Activation>(i);
    for (const int64_t width : {1, 37, 96, 384, 3072}) {
      const at::Tensor x = at::randn({43, width}), all = Activate(activation, x);
      for (int64_t row = 0; row < 43; row += 6) {
        ASSERT_TRUE(SameBits(Activate(activation, x.narrow(0, row, 1)), all.narrow(0, row, 1)))
            << ActivationName(activation) << ", width " << width << ", row " << row;
      }
    }
  }
}

}  // namespace
}  // namespace scalpel::model
