#include "server/model/kernels.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>
#include <vector>

namespace scalpel::model {
namespace {

// Rows of a packed linear layer, at least; see Linear::Packed().
constexpr int64_t kRowsMin = 16;

// oneDNN's linear layer with prepacked weights has no C++ header in libtorch; it is reached by its
// schema.
at::Tensor PackWeight(const at::Tensor& out_in) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                             .typed<at::Tensor(const at::Tensor&, std::optional<c10::SymInt>)>();
  return op.call(out_in, std::nullopt);
}

at::Tensor PackedLinear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias,
                        std::string_view function, std::optional<std::string_view> algorithm) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                            std::string_view, c10::List<std::optional<at::Scalar>>,
                            std::optional<std::string_view>)>();
  std::optional<at::Tensor> maybe_bias;
  if (bias.defined()) maybe_bias = bias;
  return op.call(x, packed, maybe_bias, function, c10::List<std::optional<at::Scalar>>(),
                 algorithm);
}

at::Tensor ApplyFormula(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::kGeluNew:
      return at::gelu(x, "tanh");
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGelu10:
      return at::gelu(x).clamp_(-10, 10);
    case Activation::kQuickGelu:
      return x * at::sigmoid(1.702 * x);
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kRelu2:
      return at::relu(x).square_();
    case Activation::kRelu6:
      return at::clamp(x, 0, 6);
    case Activation::kLeakyRelu:
      return at::leaky_relu(x);
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kMish:
      return at::mish(x);
    case Activation::kTanh:
      return at::tanh(x);
    case Activation::kSigmoid:
      return at::sigmoid(x);
    case Activation::kLaplace:
      return 0.5 * (1.0 + at::erf((x - 0.707107) / (0.282095 * 1.4142135623730951)));
    case Activation::kLinear:
      return x.clone();
  }
  TORCH_CHECK(false, "unknown activation");
}

}  // namespace

LinearKernel ChooseLinearKernel(at::Device device) {
  return device.is_cpu() && at::globalContext().hasMKLDNN() ? LinearKernel::kMkldnnPacked
                                                            : LinearKernel::kBlas;
}

KernelSpeeds TimeLinearKernels() {
  constexpr int64_t kTokens = 64, kIn = 768, kOut = 3072;
  // The best of many counts, in turn: the first touches memory and wakes the threads, others are
  // disturbed, and what disturbs must meet both.
  constexpr int kRounds = 12;
  const c10::InferenceMode inference_only;
  const LinearWeights weights = {at::ones({kIn, kOut}), at::zeros({kOut})};
  const at::Tensor x = at::ones({kTokens, kIn});
  const Linear packed(weights, LinearKernel::kMkldnnPacked), blas(weights, LinearKernel::kBlas);
  const auto speed = [&](const Linear& linear) {
    const auto start = std::chrono::steady_clock::now();
    linear(x);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return 2e-9 * kTokens * kIn * kOut / passed.count();
  };
  KernelSpeeds best;
  for (int round = 0; round < kRounds; ++round) {
    best.packed = std::max(best.packed, speed(packed));
    best.blas = std::max(best.blas, speed(blas));
  }
  return best;
}

std::string_view LinearKernelName(LinearKernel kernel, at::Device device) {
  if (kernel == LinearKernel::kMkldnnPacked) return "mkldnn-packed";
  return device.is_cuda() ? "cublas" : "blas";
}

Linear::Linear(const LinearWeights& weights, LinearKernel kernel)
    : kernel_(kernel), out_(weights.weight.size(1)), bias_(weights.bias) {
  weight_ = kernel == LinearKernel::kMkldnnPacked ? PackWeight(weights.weight.t().contiguous())
                                                  : weights.weight;
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  if (kernel_ == LinearKernel::kMkldnnPacked) return Packed(x, "none", std::nullopt);
  return bias_.defined() ? at::addmm(bias_, x, weight_) : at::mm(x, weight_);
}

bool Linear::Fuses(Activation activation) const {
  return kernel_ == LinearKernel::kMkldnnPacked && activation == Activation::kGeluNew;
}

at::Tensor Linear::Activated(Activation activation, const at::Tensor& x) const {
  return Fuses(activation) ? Packed(x, "gelu", "tanh") : Activate(activation, (*this)(x));
}

at::Tensor Linear::Packed(const at::Tensor& x, std::string_view function,
                          std::optional<std::string_view> algorithm) const {
  if (x.size(0) == 0) return at::empty({0, out_}, x.options());
  // For few rows oneDNN has other kernels, with other bits: which, and up to how many rows, depends
  // on the layer's size. Padded, all take the common one.
  const int64_t rows = x.size(0), padding = std::max<int64_t>(0, kRowsMin - rows);
  if (padding == 0) return PackedLinear(x.contiguous(), weight_, bias_, function, algorithm);
  const at::Tensor padded = at::cat({x, at::zeros({padding, x.size(1)}, x.options())});
  return PackedLinear(padded, weight_, bias_, function, algorithm).narrow(0, 0, rows);
}

// ATen's loops take 32 elements (two AVX-512 registers) at a time, and what is left at the end of a
// call, or of a thread's share of it, by scalar code with other roundings. Where something would be
// left, calls are of whole rows, or of one row if rows leave a rest: so a row's bits do not depend
// on the rows around it.
at::Tensor Activate(Activation activation, const at::Tensor& x) {
  constexpr int64_t kVectorElements = 32,
                    kCallElements = 32768;  // ATen's loops use one thread for so many
  const int64_t width = x.size(1);
  const int64_t threads =
      std::clamp<int64_t>(at::divup(x.numel(), kCallElements), 1, at::get_num_threads());
  const bool whole_rows = width % kVectorElements == 0;
  if (!x.is_cpu() || (whole_rows && at::divup(x.numel(), threads) % kVectorElements == 0))
    return ApplyFormula(activation, x);
  const int64_t many = std::max<int64_t>(1, kCallElements / width), step = whole_rows ? many : 1;
  at::Tensor out = at::empty_like(x);
  at::parallel_for(0, x.size(0), many, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode inference_only;  // each thread has its own mode
    for (int64_t row = begin; row < end; row += step) {
      const int64_t rows = std::min(step, end - row);
      out.narrow(0, row, rows).copy_(ApplyFormula(activation, x.narrow(0, row, rows)));
    }
  });
  return out;
}

}  // namespace scalpel::model
