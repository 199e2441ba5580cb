// What a block is made of besides attention: linear layers, LayerNorm and the MLP's activation. On
// a CPU by the kernels of server/kernels, elsewhere by libtorch.

#ifndef SCALPEL_SERVER_MODEL_LAYERS_H_
#define SCALPEL_SERVER_MODEL_LAYERS_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/kernels/linear.h"
#include "server/model/config.h"
#include "server/model/weights.h"

namespace scalpel::model {

// On a CPU the bits of each row that these give depend on nothing but that row: not on the rows
// beside it, on threads, or on the CPU. All results are fresh tensors.

// y = x weight + bias. Immutable; const methods are thread-safe.
class Linear {
 public:
  // `weight` is [in, out], `bias` [out] or undefined; both on the device where it will run. Packs
  // copies of them on a CPU.
  explicit Linear(const LinearWeights& weights);

  // x: [rows, in]. Returns [rows, out].
  at::Tensor operator()(const at::Tensor& x) const;
  // activation(y), elementwise.
  at::Tensor Activated(Activation activation, const at::Tensor& x) const;
  // sum + y. sum: [rows, out].
  at::Tensor AddedTo(const at::Tensor& sum, const at::Tensor& x) const;
  // What inputs [first, first + n) alone add to y. x: [rows, n]. Without the bias.
  at::Tensor Part(const at::Tensor& x, int64_t first) const;

 private:
  // Fills in what is missing of `product` but for its options, and runs it.
  at::Tensor Multiply(const at::Tensor& x, kernels::Product product) const;

  std::shared_ptr<const kernels::PackedMatrix> packed_;  // null: not on a CPU
  at::Tensor weight_;                                    // [in, out] elsewhere
  at::Tensor bias_;                                      // [out] elsewhere
};

// The MLP's nonlinearity, elementwise. x: [rows, width].
at::Tensor Activate(Activation activation, const at::Tensor& x);

struct Normed {
  at::Tensor out;  // [rows, width]
  // [rows, 1]: sqrt(variance + epsilon), which divides; undefined unless asked for.
  at::Tensor scale;
};
Normed LayerNorm(const at::Tensor& x, const LayerNormWeights& weights, double epsilon,
                 bool with_scale);

// Makes the kernels use no wider vectors than those of that name (as KernelsName gives them;
// `auto`: the widest) for all that is loaded from now on. Error: FAILED_PRECONDITION, where this
// CPU has not.
absl::Status UseVectors(std::string_view name);

// What computes on this device: `avx512`, `avx2`, `neon` or `portable` of a CPU, or `cublas`.
std::string KernelsName(at::Device device);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_LAYERS_H_
