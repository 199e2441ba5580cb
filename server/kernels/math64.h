// exp and log of doubles, with the same bits on every CPU; at most 1 ulp from the true value.

#ifndef SCALPEL_SERVER_KERNELS_MATH64_H_
#define SCALPEL_SERVER_KERNELS_MATH64_H_

#include <cstdint>

namespace scalpel::kernels {

// y[i] = e^x[i]. 0 for -infinity; infinity and NaN for themselves. x and y may be the same.
void Exp(const double* x, double* y, int64_t count);
double Exp(double x);

// y[i] = ln x[i]. -infinity for zeros of both signs, NaN below. x and y may be the same.
void Log(const double* x, double* y, int64_t count);
double Log(double x);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_MATH64_H_
