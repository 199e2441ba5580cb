// Checks arrays for infinities and NaN.

#ifndef SCALPEL_SERVER_KERNELS_FINITE_H_
#define SCALPEL_SERVER_KERNELS_FINITE_H_

#include <cstdint>

namespace scalpel::kernels {

// Returns whether every one of the `count` floats at `x` is finite; true if count is 0. Long arrays
// are read by all threads of ParallelFor.
bool AllFinite(const float* x, int64_t count);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_FINITE_H_
