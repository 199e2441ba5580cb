// y = x W + b, with W packed once for this CPU.

#ifndef SCALPEL_SERVER_KERNELS_LINEAR_H_
#define SCALPEL_SERVER_KERNELS_LINEAR_H_

#include <cstdint>

#include "server/kernels/activation.h"
#include "server/kernels/buffer.h"
#include "server/kernels/rows.h"

namespace scalpel::kernels {

struct Product;

// A weight matrix [in, out] and its bias [out], float32. The columns lie in panels as wide as the
// CPU's register tile: panel after panel, each row after row, so that a product reads memory from
// front to back. Immutable; thread-safe.
class PackedMatrix {
 public:
  // What it is packed for: the width of a panel depends on the target, and goes with its code.
  struct Target {
    void (*multiply)(const PackedMatrix&, const Product&);
    int64_t panel_width;
  };

  // weight[i * in_stride + o * out_stride] is that of input i and output o. `bias`: or null. Copies
  // both.
  PackedMatrix(const float* weight, int64_t in, int64_t out, int64_t in_stride, int64_t out_stride,
               const float* bias);

  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  int64_t panel_width() const { return target_.panel_width; }
  int64_t panels() const { return (out_ + panel_width() - 1) / panel_width(); }
  // [in, panel_width]; zeros behind the last column.
  const float* panel(int64_t index) const { return weight_.data() + index * in_ * panel_width(); }
  // [panel_width]; zeros where there is none.
  const float* bias(int64_t panel) const { return bias_.data() + panel * panel_width(); }

 private:
  friend void Multiply(const PackedMatrix& matrix, Product product);

  const Target target_;
  const int64_t in_, out_;
  Buffer weight_, bias_;
};

// One product with a matrix [in, out].
struct Product {
  Rows x = {};         // [rows, last - first]
  int64_t rows = 0;    // any number
  float* y = nullptr;  // [rows, out]; not x
  int64_t y_stride = 0;
  // What happens to an output behind its chain: the function, then the sum with `add` ([rows, out];
  // null: none; not y), each rounded.
  Activation activation = Activation::kLinear;
  Rows add = {};
  // Inputs [first, last) of the matrix only; last 0: all.
  int64_t first = 0, last = 0;
  bool with_bias = true;
};

// Every output is one chain of fused multiply-adds: it begins with the bias, goes through the
// inputs in their order, and is rounded at each step. So its bits depend on nothing but its own row
// and column: not on the other rows, nor on threads, nor on the CPU's vectors. Uses all threads.
void Multiply(const PackedMatrix& matrix, Product product);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_LINEAR_H_
