#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "server/kernels/activation.h"
#include "server/kernels/norm.h"
#include "server/kernels/threads.h"
#include "tests/bench/kernels/cases.h"
#include "tests/bench/kernels/expected.h"

namespace scalpel::bench {
namespace {

constexpr int64_t kRows[] = {1, 64, 1024};
constexpr int64_t kWidth = 768, kHidden = 3072;
constexpr double kEpsilon = 1e-5;

// Computes the expected outputs, with tolerances, of one row of inputs.
using RowFunction = std::function<Expected(const float* x, int64_t width)>;

// Inputs that fit in the caches, and outputs. Each row of inputs gives a row of outputs.
struct Values {
  Values(int64_t rows, int64_t width, const RowFunction& exact)
      : x(at::randn({rows, width}).mul_(2)), y(at::empty({rows, width})) {
    for (int64_t row = 0; row < rows; ++row) {
      expected.push_back(exact(x.const_data_ptr<float>() + row * width, width));
      expected.back().offset = row * width;
    }
  }

  at::Tensor x, y;
  std::vector<Expected> expected;
};

using Run = void (*)(Values&);

std::vector<Case> Cases(int64_t width, const RowFunction& exact, Run ours, Run theirs) {
  std::vector<Case> cases;
  for (const int64_t rows : kRows) {
    const auto values = std::make_shared<Values>(rows, width, exact);
    const auto contestant = [&](std::string_view name, Run run) {
      return Contestant{name, [values, run] { run(*values); },
                        [values] { return TakeError(values->y, values->expected); }};
    };
    cases.push_back({std::to_string(rows) + " x " + std::to_string(width),
                     0,
                     0,
                     {contestant("ours", ours), contestant("ATen", theirs)}});
  }
  return cases;
}

Expected ExactNorm(const float* x, int64_t width) {
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < width; ++i) mean += x[i] / static_cast<double>(width);
  for (int64_t i = 0; i < width; ++i)
    variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(width);
  Expected row = {0, {}, std::vector<double>(static_cast<size_t>(width), 1e-5)};
  for (int64_t i = 0; i < width; ++i)
    row.values.push_back((x[i] - mean) / std::sqrt(variance + kEpsilon));
  return row;
}

Expected ExactGelu(const float* x, int64_t width) {
  const double factor = std::sqrt(2 / std::acos(-1.0));
  Expected row = {0, {}, std::vector<double>(static_cast<size_t>(width), 1e-5)};
  for (int64_t i = 0; i < width; ++i) {
    const double value = x[i], cube = value * value * value;
    row.values.push_back(0.5 * value * (1 + std::tanh(factor * (value + 0.044715 * cube))));
  }
  return row;
}

// The gain, and below the bias, of an untrained layer.
const at::Tensor& Gain() {
  static const at::Tensor gain = at::empty({kWidth}).fill_(1);
  return gain;
}
const at::Tensor& Bias() {
  static const at::Tensor bias = at::empty({kWidth}).zero_();
  return bias;
}

}  // namespace

std::vector<Case> LayerNormCases() {
  return Cases(
      kWidth, ExactNorm,
      [](Values& v) {
        kernels::LayerNorm({.gain = Gain().const_data_ptr<float>(),
                            .bias = Bias().const_data_ptr<float>(),
                            .width = kWidth,
                            .epsilon = kEpsilon},
                           {v.x.const_data_ptr<float>(), kWidth}, v.x.size(0),
                           v.y.mutable_data_ptr<float>(), nullptr);
      },
      [](Values& v) {
        v.y = std::get<0>(at::native_layer_norm(v.x, {kWidth}, Gain(), Bias(), kEpsilon));
      });
}

std::vector<Case> GeluCases() {
  return Cases(
      kHidden, ExactGelu,
      [](Values& v) {
        // In pieces on all threads, as a product applies the activation to its outputs.
        constexpr int64_t kPiece = 8192;
        kernels::ParallelFor(v.x.numel(), kPiece, [&](int64_t begin, int64_t end) {
          kernels::Activate(kernels::Activation::kGeluNew, v.x.const_data_ptr<float>() + begin,
                            v.y.mutable_data_ptr<float>() + begin, end - begin);
        });
      },
      [](Values& v) { at::gelu_out(v.y, v.x, "tanh"); });
}

}  // namespace scalpel::bench
