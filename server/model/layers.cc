#include "server/model/layers.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/kernels/norm.h"
#include "server/kernels/targets.h"
#include "server/kernels/threads.h"

namespace scalpel::model {
namespace {

// The activation by libtorch, for devices that server/kernels does not support.
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

// Returns x with contiguous rows, which the kernels need.
at::Tensor WithRows(const at::Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); }

// The project's name for a Highway target. Those that are not listed are the fallback's.
std::string_view VectorsOf(std::string_view target) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"AVX3", "avx512"}, {"AVX2", "avx2"}, {"NEON", "neon"}};
  for (const auto& [name, vectors] : kNames) {
    if (name == target) return vectors;
  }
  return "portable";
}

// Multiply-adds between two looks whether the result is still needed: some tens of milliseconds on
// two cores. So many that the weights, which each piece reads anew, cost little.
constexpr int64_t kPieceProducts = 8'000'000'000;

kernels::Rows RowsOf(const at::Tensor& x) { return {x.const_data_ptr<float>(), x.stride(0)}; }

}  // namespace

Linear::Linear(const LinearWeights& weights) {
  const at::Tensor& weight = weights.weight;
  if (!weight.is_cpu()) {
    weight_ = weight;
    bias_ = weights.bias;
    return;
  }
  at::Tensor bias = weights.bias;
  if (bias.defined()) bias = bias.contiguous();
  packed_ = std::make_shared<const kernels::PackedMatrix>(
      weight.const_data_ptr<float>(), weight.size(0), weight.size(1), weight.stride(0),
      weight.stride(1), bias.defined() ? bias.const_data_ptr<float>() : nullptr);
}

at::Tensor Linear::Multiply(const at::Tensor& x, kernels::Product product, GoesOn goes_on) const {
  const at::Tensor rows = WithRows(x);
  at::Tensor y = at::empty({x.size(0), packed_->out()}, x.options());
  const kernels::Rows from = RowsOf(rows), add = product.add;
  product.y_stride = packed_->out();
  const int64_t piece = kPieceProducts / (packed_->in() * packed_->out()) + 1;
  for (int64_t begin = 0; begin < x.size(0) && (begin == 0 || goes_on()); begin += piece) {
    product.x = {from.data + begin * from.stride, from.stride};
    if (add.data != nullptr) product.add = {add.data + begin * add.stride, add.stride};
    product.y = y.data_ptr<float>() + begin * product.y_stride;
    product.rows = std::min(piece, x.size(0) - begin);
    kernels::Multiply(*packed_, product);
  }
  return y;
}

at::Tensor Linear::operator()(const at::Tensor& x, GoesOn goes_on) const {
  if (packed_ != nullptr) return Multiply(x, {}, goes_on);
  return bias_.defined() ? at::addmm(bias_, x, weight_) : at::mm(x, weight_);
}

at::Tensor Linear::Activated(Activation activation, const at::Tensor& x, GoesOn goes_on) const {
  if (packed_ != nullptr) return Multiply(x, {.activation = activation}, goes_on);
  return ApplyFormula(activation, (*this)(x));
}

at::Tensor Linear::AddedTo(const at::Tensor& sum, const at::Tensor& x, GoesOn goes_on) const {
  if (packed_ != nullptr) return Multiply(x, {.add = RowsOf(sum)}, goes_on);
  return sum + (*this)(x);
}

at::Tensor Linear::Part(const at::Tensor& x, int64_t first) const {
  if (packed_ == nullptr) return at::mm(x, weight_.narrow(0, first, x.size(1)));
  return Multiply(x, {.first = first, .last = first + x.size(1), .with_bias = false}, Always);
}

at::Tensor Activate(Activation activation, const at::Tensor& x) {
  if (!x.is_cpu()) return ApplyFormula(activation, x);
  constexpr int64_t kElements = 8192;  // in a piece; they take some microseconds
  const at::Tensor from = x.contiguous();
  at::Tensor y = at::empty_like(from);
  const float* in = from.const_data_ptr<float>();
  float* out = y.data_ptr<float>();
  kernels::ParallelFor(x.numel(), kElements, [&](int64_t begin, int64_t end) {
    kernels::Activate(activation, in + begin, out + begin, end - begin);
  });
  return y;
}

Normed LayerNorm(const at::Tensor& x, const LayerNormWeights& weights, double epsilon,
                 bool with_scale) {
  const int64_t rows = x.size(0), width = x.size(1);
  if (!x.is_cpu()) {
    auto [out, mean, reciprocal] =
        at::native_layer_norm(x, {width}, weights.gain, weights.bias, epsilon);
    return {out, with_scale ? reciprocal.reciprocal().view({-1, 1}) : at::Tensor()};
  }
  const at::Tensor from = WithRows(x);
  Normed normed{at::empty({rows, width}, x.options()), at::Tensor()};
  if (with_scale) normed.scale = at::empty({rows, 1}, x.options());
  kernels::LayerNorm(
      {weights.gain.const_data_ptr<float>(), weights.bias.const_data_ptr<float>(), width, epsilon},
      RowsOf(from), rows, normed.out.data_ptr<float>(),
      with_scale ? normed.scale.data_ptr<float>() : nullptr);
  return normed;
}

absl::Status UseVectors(std::string_view name) {
  if (name == "auto") return absl::OkStatus();
  std::string there;
  for (const std::string_view target : kernels::Targets()) {
    if (VectorsOf(target) == name) {
      kernels::ForceTarget(target);
      return absl::OkStatus();
    }
    there += (there.empty() ? "" : ", ") + std::string(VectorsOf(target));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("--vectors: this CPU has no ", std::string(name), "; it has ", there));
}

std::string KernelsName(at::Device device) {
  return device.is_cpu() ? std::string(VectorsOf(kernels::Target())) : "cublas";
}

}  // namespace scalpel::model
