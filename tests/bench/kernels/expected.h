// Checks outputs of the contestants against expected values.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_EXPECTED_H_
#define SCALPEL_TESTS_BENCH_KERNELS_EXPECTED_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace scalpel::bench {

// The expected values of consecutive elements of an output, beginning with element `offset`, and by
// how much rounding may change each.
struct Expected {
  int64_t offset;
  std::vector<double> values, tolerances;
};

// Returns the largest error in `y` divided by its tolerance. Then overwrites `y`, so that a
// contestant that writes nothing is not judged by the outputs of the one before.
double TakeError(at::Tensor& y, const std::vector<Expected>& expected);

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_EXPECTED_H_
