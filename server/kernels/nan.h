// NaN as answers carry it.

#ifndef SCALPEL_SERVER_KERNELS_NAN_H_
#define SCALPEL_SERVER_KERNELS_NAN_H_

#include <cmath>
#include <limits>

namespace scalpel::kernels {

// `x`, but of all NaN one: the sign of those that an operation makes depends on the CPU.
template <class Float>
Float OneNan(Float x) {
  return std::isnan(x) ? std::numeric_limits<Float>::quiet_NaN() : x;
}

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_NAN_H_
