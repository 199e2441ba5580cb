// The linear layers: one seam, behind which the weights are kept in whatever layout is fastest on
// this device.

#ifndef SCALPEL_SERVER_MODEL_KERNELS_H_
#define SCALPEL_SERVER_MODEL_KERNELS_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "server/model/config.h"
#include "server/model/weights.h"

namespace scalpel::model {

enum class LinearKernel {
  // oneDNN with weights packed once. The bits of a row do not depend on how many rows there are.
  kMkldnnPacked,
  // ATen's addmm: MKL on a CPU, cuBLAS on a GPU. The bits of a row may depend on how many rows
  // there are.
  kBlas,
};

// What a device has: packed where libtorch can (float32 on a CPU with oneDNN), BLAS elsewhere.
LinearKernel ChooseLinearKernel(at::Device device);

// GFLOP/s of one linear layer of GPT-2's size over a few tokens on this CPU, with as many threads
// as libtorch has; takes some milliseconds.
struct KernelSpeeds {
  double packed = 0, blas = 0;
};
KernelSpeeds TimeLinearKernels();

// `mkldnn-packed`, `blas` or `cublas`.
std::string_view LinearKernelName(LinearKernel kernel, at::Device device);

// y = x weight + bias. Immutable; const methods are thread-safe.
class Linear {
 public:
  // `weight` is [in, out], `bias` [out] or undefined; both on the device where it will run.
  Linear(const LinearWeights& weights, LinearKernel kernel);

  // x: [rows, in]. Returns a fresh [rows, out].
  at::Tensor operator()(const at::Tensor& x) const;
  // Whether Activated() applies this function inside the product: then its roundings are not those
  // of Activate().
  bool Fuses(Activation activation) const;
  // activation(y), elementwise. x: [rows, in]. Returns a fresh [rows, out].
  at::Tensor Activated(Activation activation, const at::Tensor& x) const;

 private:
  // With oneDNN's name of a function to apply to the sum, and of that function's algorithm.
  at::Tensor Packed(const at::Tensor& x, std::string_view function,
                    std::optional<std::string_view> algorithm) const;

  LinearKernel kernel_;
  int64_t out_;
  at::Tensor weight_;  // [in, out], or oneDNN's opaque layout
  at::Tensor bias_;
};

// The MLP's nonlinearity, elementwise. x: [rows, width]. Returns a fresh tensor; on a CPU the bits
// of a row do not depend on how many rows there are.
at::Tensor Activate(Activation activation, const at::Tensor& x);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_KERNELS_H_
