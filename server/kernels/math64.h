// exp and log of doubles, at most 1 ulp from the true value and with the same bits on every CPU,
// unlike the C library's. Thread-safe; all work is done on the caller's thread.

#ifndef SCALPEL_SERVER_KERNELS_MATH64_H_
#define SCALPEL_SERVER_KERNELS_MATH64_H_

#include <cstdint>

namespace scalpel::kernels {

// Writes y[i] = e^x[i] for i in [0, count): 0 for -infinity, infinity for infinity, NaN for NaN.
// `y` may be `x`, but must not overlap it otherwise.
void Exp(const double* x, double* y, int64_t count);
double Exp(double x);

// Writes y[i] = ln x[i] for i in [0, count): -infinity for zeros of both signs, NaN for negative
// numbers and NaN. `y` may be `x`, but must not overlap it otherwise.
void Log(const double* x, double* y, int64_t count);
double Log(double x);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_MATH64_H_
