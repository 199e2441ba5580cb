// The cases of each kernel that is timed. kKernels in main.cc lists the functions.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_CASES_H_
#define SCALPEL_TESTS_BENCH_KERNELS_CASES_H_

#include <vector>

#include "tests/bench/kernels/measure.h"

namespace scalpel::bench {

// The linear layers of all twelve blocks of GPT-2 small in turn, since no cache holds their 340 MB.
// Compared with oneDNN on packed weights and with MKL.
std::vector<Case> LinearCases();
// Causal attention with 12 heads of 64 dimensions. Compared with libtorch's fused attention, and
// with its matrix products and softmax.
std::vector<Case> AttentionCases();
// Compared with libtorch's operations.
std::vector<Case> LayerNormCases();
std::vector<Case> GeluCases();

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_CASES_H_
