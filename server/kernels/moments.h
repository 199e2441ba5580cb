// Sums over a row of floats, in double precision and in one fixed order: the bits of a result
// depend on nothing but the row. Every function works on the caller's thread; all are thread-safe.
//
// x, y: `count` floats, contiguous; count >= 1. NaN in, NaN out, whatever its place.

#ifndef SCALPEL_SERVER_KERNELS_MOMENTS_H_
#define SCALPEL_SERVER_KERNELS_MOMENTS_H_

#include <cstdint>

namespace scalpel::kernels {

double Sum(const float* x, int64_t count);

double SumOfSquares(const float* x, int64_t count);

// The sums of (x - mean)^2 and of (x - mean)^4.
struct CentralSums {
  double squares, fourths;
};
CentralSums CentralSumsOf(const float* x, int64_t count, double mean);

// The sum of x y.
double Dot(const float* x, const float* y, int64_t count);

// The sum of (x - y)^2.
double SquaredDistance(const float* x, const float* y, int64_t count);

// The sum of -x ln x, where 0 counts as 0; NaN if any is below.
double Entropy(const float* x, int64_t count);

// -0 is below 0. With a NaN in the row, both are NaN.
struct Extremes {
  float min, max;
};
Extremes ExtremesOf(const float* x, int64_t count);

// How many are 0 or -0.
int64_t CountZeros(const float* x, int64_t count);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_MOMENTS_H_
