// An array of floats, aligned for vector instructions and backed by huge pages where it is large.

#ifndef SCALPEL_SERVER_KERNELS_BUFFER_H_
#define SCALPEL_SERVER_KERNELS_BUFFER_H_

#include <cstdint>
#include <memory>

namespace scalpel::kernels {

// Owns its memory; movable, not copyable. The constructor zeroes the memory, aligns it to 64 bytes,
// and throws std::bad_alloc if there is none.
//
// A buffer of 2 MiB or more is aligned to 2 MiB, and madvise asks the operating system for huge
// pages: a pass over few rows is limited by how fast the weights can be read, and hardware
// prefetching stops at the end of each page.
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
