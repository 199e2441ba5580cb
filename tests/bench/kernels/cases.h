// The kernels that are timed, a function each; kKernels in main.cc lists them.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_CASES_H_
#define SCALPEL_TESTS_BENCH_KERNELS_CASES_H_

#include <vector>

#include "tests/bench/kernels/measure.h"

namespace scalpel::bench {

// The linear layers of all twelve blocks of GPT-2 small, one after the other, as no cache holds
// their 340 MB: against oneDNN's with packed weights, and against MKL.
std::vector<Case> LinearCases();
// Causal attention of twelve heads of 64: against ATen's fused one, and its products with a softmax
// between them.
std::vector<Case> AttentionCases();
// Against ATen's.
std::vector<Case> LayerNormCases();
std::vector<Case> GeluCases();

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_CASES_H_
