// Memory of floats, in large pages where it is large.

#ifndef SCALPEL_SERVER_KERNELS_BUFFER_H_
#define SCALPEL_SERVER_KERNELS_BUFFER_H_

#include <cstdint>
#include <memory>

namespace scalpel::kernels {

// Zeros at first, aligned to 64 bytes at least. From 2 MiB on it begins at a page of that size, and
// the kernel is asked to back it by such: a pass over few rows is bound by reading the weights, and
// the processor's prefetching ends at each page. Throws std::bad_alloc.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t floats);

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  int64_t size() const { return floats_; }

 private:
  struct Free {
    void operator()(float* data) const;
  };
  std::unique_ptr<float[], Free> data_;
  int64_t floats_ = 0;
};

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_BUFFER_H_
