// The view of a float32 matrix that the kernels read.

#ifndef SCALPEL_SERVER_KERNELS_ROWS_H_
#define SCALPEL_SERVER_KERNELS_ROWS_H_

#include <cstdint>

namespace scalpel::kernels {

// Each row is contiguous. Does not own the floats.
struct Rows {
  const float* data = nullptr;
  int64_t stride = 0;  // floats from one row to the next; 0 repeats one row

  const float* operator[](int64_t row) const { return data + row * stride; }
};

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_ROWS_H_
