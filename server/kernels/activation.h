// The activation functions that a GPT-2 checkpoint may put between the MLP's two linear layers.

#ifndef SCALPEL_SERVER_KERNELS_ACTIVATION_H_
#define SCALPEL_SERVER_KERNELS_ACTIVATION_H_

#include <cstdint>

namespace scalpel::kernels {

// One value for each function. transformers' ACT2FN has several names for some of them: "Names"
// lists those of each value. The formula, applied to each element x, is the definition.
enum class Activation {
  // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), ATen's gelu(x, "tanh"). Names: gelu_new,
  // gelu_fast (its constant 0.7978845608 is sqrt(2/pi) in float32), gelu_accurate,
  // gelu_pytorch_tanh, gelu_python_tanh.
  kGeluNew,
  kGelu,       // x Phi(x) by erf, ATen's gelu(x). Names: gelu, gelu_python.
  kGelu10,     // clamp(gelu(x), -10, 10). Name: gelu_10.
  kQuickGelu,  // x sigmoid(1.702 x). Name: quick_gelu.
  kRelu,       // max(x, 0). Name: relu.
  kRelu2,      // max(x, 0)^2. Name: relu2.
  kRelu6,      // clamp(x, 0, 6). Name: relu6.
  kLeakyRelu,  // x > 0 ? x : 0.01 x. Name: leaky_relu.
  kSilu,       // x sigmoid(x). Names: silu, swish.
  kMish,       // x tanh(softplus(x)). Name: mish.
  kTanh,       // Name: tanh.
  kSigmoid,    // Name: sigmoid.
  kLaplace,    // 0.5 (1 + erf((x - 0.707107) / (0.282095 sqrt(2)))). Name: laplace.
  kLinear,     // x. Name: linear.
};

// Writes y[i] = activation(x[i]) for i in [0, count), on the caller's thread. `y` may be `x`, but
// must not overlap it otherwise. Each normal result is within 1 ulp of the formula and has the same
// bits on every CPU. Thread-safe.
void Activate(Activation activation, const float* x, float* y, int64_t count);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_ACTIVATION_H_
