// The operations that add up many numbers, on the CPU: in double precision, each result rounded to
// float32 once. Their bits do not depend on the CPU, nor on threads.

#ifndef SCALPEL_SERVER_SPEC_HOST_OPS_H_
#define SCALPEL_SERVER_SPEC_HOST_OPS_H_

#include <cstdint>

#include "server/model/tensor.h"

namespace scalpel::spec {

// The mean of `x`, float32, over one axis, added up in the order of its indices; the axis stays,
// with length 1.
at::Tensor MeanOnHost(const at::Tensor& x, int64_t axis);

// `x` with its component along `direction` multiplied by `factor`, in each vector along the last
// axis. x: [..., d] float32; direction: [d] float32, not zero.
at::Tensor RescaleDirectionOnHost(const at::Tensor& x, const at::Tensor& direction, double factor);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_HOST_OPS_H_
