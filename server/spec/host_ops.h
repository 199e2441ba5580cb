// The interventions' operations that add up many numbers, on the CPU. They compute in double
// precision and round each result to float32 once. Their bits depend neither on the CPU nor on the
// threads. All tensors are on the CPU; results are new.

#ifndef SCALPEL_SERVER_SPEC_HOST_OPS_H_
#define SCALPEL_SERVER_SPEC_HOST_OPS_H_

#include <cstdint>

#include "server/model/tensor.h"

namespace scalpel::spec {

// Returns the mean of `x`, float32, over one axis, which remains with length 1. Adds in order of
// the index.
at::Tensor MeanOnHost(const at::Tensor& x, int64_t axis);

// Returns `x`, [..., d] float32, with the component of each vector along `direction` multiplied by
// `factor`. direction: [d] float32, not zero, of any length. Runs on all threads of ParallelFor.
at::Tensor RescaleDirectionOnHost(const at::Tensor& x, const at::Tensor& direction, double factor);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_HOST_OPS_H_
