// Layer normalization (Ba, Kiros and Hinton, 2016) in float32.

#ifndef SCALPEL_SERVER_KERNELS_NORM_H_
#define SCALPEL_SERVER_KERNELS_NORM_H_

#include <cstdint>

#include "server/kernels/rows.h"

namespace scalpel::kernels {

// The parameters of one LayerNorm. Owns no memory.
struct Norm {
  const float* gain;  // [width]
  const float* bias;  // [width]
  int64_t width;
  double epsilon;  // > 0
};

// Writes y = (x - mean) / sqrt(variance + epsilon) * gain + bias for each row of `x`, [rows,
// width]. The variance is the biased one, divided by `width`. `y` is contiguous, [rows, width], and
// must not overlap `x`. If `scale` is not null, it receives the square root of each row, [rows].
//
// Computes in double precision and rounds each result to float once. Sums have a fixed order, so
// the bits of a row depend only on that row. Runs on all threads of ParallelFor.
void LayerNorm(const Norm& norm, Rows x, int64_t rows, float* y, float* scale);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_NORM_H_
