// Sums over a row of floats in double precision, for statistics. The order of each sum is fixed, so
// the bits of a result depend only on the row. All functions are thread-safe and run on the
// caller's thread.
//
// `x` and `y` are `count` contiguous floats, count >= 1. If any of them is NaN, so is the result,
// except that CountZeros ignores NaN.

#ifndef SCALPEL_SERVER_KERNELS_MOMENTS_H_
#define SCALPEL_SERVER_KERNELS_MOMENTS_H_

#include <cstdint>

namespace scalpel::kernels {

double Sum(const float* x, int64_t count);

double SumOfSquares(const float* x, int64_t count);

struct CentralSums {
  double squares;  // sum of (x[i] - mean)^2
  double fourths;  // sum of (x[i] - mean)^4
};
CentralSums CentralSumsOf(const float* x, int64_t count, double mean);

// Returns the sum of x[i] y[i].
double Dot(const float* x, const float* y, int64_t count);

// Returns the sum of (x[i] - y[i])^2.
double SquaredDistance(const float* x, const float* y, int64_t count);

// Returns the sum of -x[i] ln x[i] in nats. An x[i] of 0 adds nothing; a negative one makes the
// result NaN.
double Entropy(const float* x, int64_t count);

// The smallest and the largest number, where -0 is smaller than 0.
struct Extremes {
  float min, max;
};
Extremes ExtremesOf(const float* x, int64_t count);

// Returns how many of the numbers are 0 or -0.
int64_t CountZeros(const float* x, int64_t count);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_MOMENTS_H_
