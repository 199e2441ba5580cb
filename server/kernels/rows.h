// How the kernels see a matrix.

#ifndef SCALPEL_SERVER_KERNELS_ROWS_H_
#define SCALPEL_SERVER_KERNELS_ROWS_H_

#include <cstdint>

namespace scalpel::kernels {

// Rows of floats; `stride`: floats from one row to the next.
struct Rows {
  const float* data = nullptr;
  int64_t stride = 0;

  const float* operator[](int64_t row) const { return data + row * stride; }
};

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_ROWS_H_
