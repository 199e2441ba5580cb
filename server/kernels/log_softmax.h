// Logarithms of probabilities from a row of logits, in double precision and in one fixed order: the
// bits of a result depend on nothing but the row. Every function works on the caller's thread; all
// are thread-safe. Arrays are contiguous, of `count` >= 1 numbers.

#ifndef SCALPEL_SERVER_KERNELS_LOG_SOFTMAX_H_
#define SCALPEL_SERVER_KERNELS_LOG_SOFTMAX_H_

#include <cstdint>

namespace scalpel::kernels {

// ln of the sum of e^x. Infinity if any x is, -infinity if all are, NaN if any is.
double LogSumExp(const float* x, int64_t count);

// log_p[i] = x[i] - LogSumExp(x).
void LogSoftmax(const float* x, double* log_p, int64_t count);

// The sum of p (log_p - log_q), where an entry with p = 0 adds nothing.
double KlDivergence(const double* p, const double* log_p, const double* log_q, int64_t count);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_LOG_SOFTMAX_H_
