// Log-probabilities from a row of logits, in double precision. Sums have a fixed order, so the bits
// of a result depend only on the row. All functions are thread-safe and run on the caller's thread.
// Arrays are contiguous and hold `count` >= 1 numbers.

#ifndef SCALPEL_SERVER_KERNELS_LOG_SOFTMAX_H_
#define SCALPEL_SERVER_KERNELS_LOG_SOFTMAX_H_

#include <cstdint>

namespace scalpel::kernels {

// Returns ln(sum of e^x[i]): NaN if any x[i] is NaN, else infinity if any is infinity, and
// -infinity if all are -infinity.
double LogSumExp(const float* x, int64_t count);

// Writes log_p[i] = x[i] - LogSumExp(x).
void LogSoftmax(const float* x, double* log_p, int64_t count);

// Returns the sum of p[i] (log_p[i] - log_q[i]) in nats. An entry with p[i] = 0 adds nothing, even
// if its logarithms are infinite.
double KlDivergence(const double* p, const double* log_p, const double* log_q, int64_t count);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_LOG_SOFTMAX_H_
