// Linear layers, y = f(x W + b) + r, in float32, with W packed once for this CPU.

#ifndef SCALPEL_SERVER_KERNELS_LINEAR_H_
#define SCALPEL_SERVER_KERNELS_LINEAR_H_

#include <cstdint>

#include "server/kernels/activation.h"
#include "server/kernels/buffer.h"
#include "server/kernels/rows.h"

namespace scalpel::kernels {

struct Product;

// A weight matrix [in, out] and its bias [out]. The columns are stored in panels as wide as the
// CPU's register tile, each panel row by row, so that a product reads memory sequentially.
// Immutable and thread-safe.
class PackedMatrix {
 public:
  // The Highway target that the matrix is packed for: the width of a panel, and the code that
  // expects panels of that width.
  struct Target {
    void (*multiply)(const PackedMatrix&, const Product&);
    int64_t panel_width;
  };

  // Copies a matrix whose weight from input i to output o is weight[i * in_stride + o *
  // out_stride], and `bias`, which may be null for a bias of zeros. Packs for Target() of
  // targets.h. Uses all threads of ParallelFor. Throws std::bad_alloc.
  PackedMatrix(const float* weight, int64_t in, int64_t out, int64_t in_stride, int64_t out_stride,
               const float* bias);

  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  int64_t panel_width() const { return target_.panel_width; }
  int64_t panels() const { return (out_ + panel_width() - 1) / panel_width(); }
  // [in, panel_width]; zeros past the last column.
  const float* panel(int64_t index) const { return weight_.data() + index * in_ * panel_width(); }
  // [panel_width]; zeros past the last column, or if there is no bias.
  const float* bias(int64_t panel) const { return bias_.data() + panel * panel_width(); }

 private:
  friend void Multiply(const PackedMatrix& matrix, Product product);

  const Target target_;
  const int64_t in_, out_;
  Buffer weight_, bias_;
};

// The operands of one product with a matrix [in, out]: y = activation(x W + b) + add. Owns no
// memory.
struct Product {
  Rows x = {};           // [rows, last - first]
  int64_t rows = 0;      // >= 0
  float* y = nullptr;    // output, [rows, out]; must not overlap `x` or `add`
  int64_t y_stride = 0;  // floats from one row of `y` to the next
  // Applied to each sum, and rounded, before `add`.
  Activation activation = Activation::kLinear;
  Rows add = {};  // [rows, out]; nothing is added if its data is null
  // Uses only the inputs [first, last) of the matrix, or all of them if last is 0.
  int64_t first = 0, last = 0;
  bool with_bias = true;
};

// Writes product.y. Each sum is one chain of fused multiply-adds, rounded at each step, which
// begins with the bias and takes the inputs in order. So the bits of an output depend only on its
// own row of `x` and column of the matrix: not on the number of rows, on the threads or on the CPU.
// Runs on all threads of ParallelFor.
void Multiply(const PackedMatrix& matrix, Product product);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_LINEAR_H_
