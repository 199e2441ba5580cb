#include "server/kernels/activation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "tests/unit/kernels/floats.h"
#include "tests/unit/support/cpus.h"

namespace scalpel::kernels {
namespace {

using test::OnEveryCpu;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int kActivations = static_cast<int>(Activation::kLinear) + 1;

// The definitions, in forms without cancellation.
long double Exact(Activation activation, long double x) {
  const long double gelu = 0.5L * x * std::erfc(-x / std::numbers::sqrt2_v<long double>);
  switch (activation) {
    case Activation::kGeluNew: {
      const long double u =
          std::sqrt(2 / std::numbers::pi_v<long double>) * (x + 0.044715L * x * x * x);
      return x / (1 + std::exp(-2 * u));
    }
    case Activation::kGelu:
      return gelu;
    case Activation::kGelu10:
      return std::clamp(gelu, -10.0L, 10.0L);
    case Activation::kQuickGelu:
      return x / (1 + std::exp(-1.702L * x));
    case Activation::kRelu:
      return std::max(x, 0.0L);
    case Activation::kRelu2:
      return std::max(x, 0.0L) * std::max(x, 0.0L);
    case Activation::kRelu6:
      return std::clamp(x, 0.0L, 6.0L);
    case Activation::kLeakyRelu:
      return x > 0 ? x : 0.01L * x;
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kMish:
      return x * std::tanh(std::log1p(std::exp(x)));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::kLaplace:
      return 0.5L * std::erfc((0.707107L - x) / (0.282095L * std::numbers::sqrt2_v<long double>));
    case Activation::kLinear:
      return x;
  }
  return kNaN;
}

// Floats of every exponent and both signs.
std::vector<float> ManyFloats() {
  std::vector<float> floats;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 200'003) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (std::isfinite(x)) floats.push_back(x);
  }
  return floats;
}

TEST(Activate, IsWithinOneUlpAndHasEqualBitsOnEveryCpu) {
  const std::vector<float> x = ManyFloats();
  for (int i = 0; i < kActivations; ++i) {
    const auto activation = static_cast<Activation>(i);
    std::vector<float> first;
    OnEveryCpu([&] {
      std::vector<float> y(x.size());
      Activate(activation, x.data(), y.data(), static_cast<int64_t>(x.size()));
      if (!first.empty()) {
        ASSERT_EQ(Bits(y), Bits(first)) << i;
        return;
      }
      first = y;
      for (size_t j = 0; j < x.size(); ++j) {
        const long double exact = Exact(activation, x[j]);
        if (std::abs(exact) < std::numeric_limits<float>::min()) {
          ASSERT_LE(std::abs(y[j]), std::numeric_limits<float>::min()) << i << " of " << x[j];
        } else if (std::abs(exact) <= std::numeric_limits<float>::max()) {
          ASSERT_LE(Ulps(y[j], exact), 1) << i << " of " << x[j];
        } else {
          ASSERT_EQ(std::abs(y[j]), kInfinity) << i << " of " << x[j];
        }
      }
    });
  }
}

TEST(Activate, WorksInPlaceAndWritesOnlyCountElements) {
  const std::vector<float> x = RandomFloats(70, 5, 3);
  OnEveryCpu([&] {
    for (int i = 0; i < kActivations; ++i) {
      const auto activation = static_cast<Activation>(i);
      std::vector<float> whole(x.size());
      Activate(activation, x.data(), whole.data(), 70);
      for (int64_t count = 0; count < 70; ++count) {
        std::vector<float> y = x;
        Activate(activation, y.data(), y.data(), count);
        std::copy(x.begin() + count, x.end(), whole.begin() + count);
        ASSERT_EQ(Bits(y), Bits(whole)) << i << ", " << count;
        Activate(activation, x.data(), whole.data(), 70);
      }
    }
  });
}

// The parity tests compare with libtorch for finite numbers only.
TEST(Activate, AgreesWithLibtorchOnInfinityAndNan) {
  const std::vector<float> x = {kInfinity, -kInfinity, kNaN};
  OnEveryCpu([&] {
    const auto of = [&](Activation activation) {
      std::vector<float> y(3);
      Activate(activation, x.data(), y.data(), 3);
      EXPECT_TRUE(std::isnan(y[2])) << static_cast<int>(activation);
      return std::pair(y[0], y[1]);
    };
    for (const auto gated : {Activation::kGeluNew, Activation::kGelu, Activation::kQuickGelu,
                             Activation::kSilu, Activation::kMish}) {
      EXPECT_EQ(of(gated).first, kInfinity);
      EXPECT_TRUE(std::isnan(of(gated).second));  // minus infinity times 0
    }
    EXPECT_EQ(of(Activation::kRelu), std::pair(kInfinity, 0.0f));
    EXPECT_EQ(of(Activation::kRelu2), std::pair(kInfinity, 0.0f));
    EXPECT_EQ(of(Activation::kRelu6), std::pair(6.0f, 0.0f));
    EXPECT_EQ(of(Activation::kLeakyRelu), std::pair(kInfinity, -kInfinity));
    EXPECT_EQ(of(Activation::kTanh), std::pair(1.0f, -1.0f));
    EXPECT_EQ(of(Activation::kSigmoid), std::pair(1.0f, 0.0f));
    EXPECT_EQ(of(Activation::kLaplace), std::pair(1.0f, 0.0f));
    EXPECT_EQ(of(Activation::kLinear), std::pair(kInfinity, -kInfinity));
  });
}

}  // namespace
}  // namespace scalpel::kernels
