// The one NaN that answers carry.

#ifndef SCALPEL_SERVER_KERNELS_NAN_H_
#define SCALPEL_SERVER_KERNELS_NAN_H_

#include <cmath>
#include <limits>

namespace scalpel::kernels {

// Returns x, or the default quiet NaN if x is any NaN. The sign of a NaN that an operation makes
// differs between CPUs; answers must not.
template <class Float>
Float OneNan(Float x) {
  return std::isnan(x) ? std::numeric_limits<Float>::quiet_NaN() : x;
}

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_NAN_H_
