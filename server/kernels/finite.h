// Whether numbers are numbers.

#ifndef SCALPEL_SERVER_KERNELS_FINITE_H_
#define SCALPEL_SERVER_KERNELS_FINITE_H_

#include <cstdint>

namespace scalpel::kernels {

// Whether none of x[0], ..., x[count - 1] is infinite or NaN. On several threads where it pays.
bool AllFinite(const float* x, int64_t count);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_FINITE_H_
