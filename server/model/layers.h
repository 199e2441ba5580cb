// The parts of a block besides attention: linear layers, LayerNorm and the MLP's activation.
// Computed by server/kernels on a CPU, and by libtorch elsewhere.
//
// On a CPU the bits of a result's row depend only on that row of the input: not on the other rows,
// the threads or the CPU. All results are new tensors, float32.

#ifndef SCALPEL_SERVER_MODEL_LAYERS_H_
#define SCALPEL_SERVER_MODEL_LAYERS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/kernels/linear.h"
#include "server/model/config.h"
#include "server/model/tensor.h"
#include "server/model/weights.h"

namespace scalpel::model {

// Is asked in the middle of long computations whether their result is still needed. After a no the
// result is undefined.
using GoesOn = absl::FunctionRef<bool()>;
inline bool Always() { return true; }

// The linear layer y = x weight + bias. Immutable, and cheap to copy; const methods are
// thread-safe.
class Linear {
 public:
  // The weights must be on the device where the layer will run; the bias may be undefined. On a CPU
  // the layer keeps a packed copy of them, elsewhere it shares the tensors.
  explicit Linear(const LinearWeights& weights);

  // Returns y, [rows, out], for x, [rows, in].
  at::Tensor operator()(const at::Tensor& x, GoesOn goes_on = Always) const;
  // Returns activation(y), elementwise.
  at::Tensor Activated(Activation activation, const at::Tensor& x, GoesOn goes_on = Always) const;
  // Returns sum + y, where `sum` is [rows, out].
  at::Tensor AddedTo(const at::Tensor& sum, const at::Tensor& x, GoesOn goes_on = Always) const;
  // Returns the part of y, without the bias, that the inputs [first, first + n) contribute. x:
  // [rows, n].
  at::Tensor Part(const at::Tensor& x, int64_t first) const;

 private:
  // Runs `product`, some rows at a time, after filling in its operands: x, rows, y and y_stride.
  at::Tensor Multiply(const at::Tensor& x, kernels::Product product, GoesOn goes_on) const;

  std::shared_ptr<const kernels::PackedMatrix> packed_;  // null if not on a CPU
  at::Tensor weight_;                                    // [in, out]; undefined on a CPU
  at::Tensor bias_;                                      // [out]; undefined on a CPU
};

// Applies the activation to each element of x, [rows, width].
at::Tensor Activate(Activation activation, const at::Tensor& x);

struct Normed {
  at::Tensor out;    // [rows, width]
  at::Tensor scale;  // [rows, 1]: sqrt(variance + epsilon); undefined unless requested
};
// Layer normalization (Ba, Kiros and Hinton, 2016) of each row of x, [rows, width].
Normed LayerNorm(const at::Tensor& x, const LayerNormWeights& weights, double epsilon,
                 bool with_scale);

// Selects the instruction set of the kernels for all weights that are loaded afterwards: one of the
// names that KernelsName returns for a CPU, or `auto` for the best. FAILED_PRECONDITION if this CPU
// does not support it.
absl::Status UseVectors(std::string_view name);

// Returns what computes on the device: `avx512`, `avx2`, `neon` or `portable` for a CPU, else
// `cublas`.
std::string KernelsName(at::Device device);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_LAYERS_H_
