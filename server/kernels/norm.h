// LayerNorm (Ba, Kiros and Hinton, 2016).

#ifndef SCALPEL_SERVER_KERNELS_NORM_H_
#define SCALPEL_SERVER_KERNELS_NORM_H_

#include <cstdint>

#include "server/kernels/rows.h"

namespace scalpel::kernels {

struct Norm {
  const float* gain;  // [width]
  const float* bias;  // [width]
  int64_t width;
  double epsilon;
};

// y = (x - mean) / sqrt(variance + epsilon) * gain + bias, by row, in double with one rounding at
// the end; sums go in an order of their own, which no thread and no vector's width changes. The
// variance is the biased one. y: [rows, width], contiguous; not x. `scale`: null, or [rows] for the
// square root.
void LayerNorm(const Norm& norm, Rows x, int64_t rows, float* y, float* scale);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_NORM_H_
