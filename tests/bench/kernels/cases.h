// The kernels that are timed, a function each; kKernels in main.cc lists them.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_CASES_H_
#define SCALPEL_TESTS_BENCH_KERNELS_CASES_H_

#include <vector>

#include "tests/bench/kernels/measure.h"

namespace scalpel::bench {

// The linear layers of all twelve blocks of GPT-2 small, one after the other, as no cache holds
// their 340 MB: against oneDNN's with packed weights, and against MKL.
std::vector<Case> LinearCases();

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_CASES_H_
