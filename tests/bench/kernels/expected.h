// What outputs should be, where they are checked.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_EXPECTED_H_
#define SCALPEL_TESTS_BENCH_KERNELS_EXPECTED_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace scalpel::bench {

// Values that lie one after the other, from `offset` on, and how far from each rounding may lead.
struct Expected {
  int64_t offset;
  std::vector<double> values, tolerances;
};

// The largest error, as a part of its tolerance. Then forgets what there was, so that nobody is
// judged by another's outputs.
double TakeError(at::Tensor& y, const std::vector<Expected>& expected);

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_EXPECTED_H_
