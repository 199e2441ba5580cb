#include "server/kernels/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace scalpel::kernels {
namespace {

constexpr size_t kCacheLine = 64, kHugePage = 2 << 20;

}  // namespace

Buffer::Buffer(int64_t floats) : floats_(floats) {
  const size_t bytes = static_cast<size_t>(floats) * sizeof(float);
  const size_t alignment = bytes >= kHugePage ? kHugePage : kCacheLine;
  const size_t whole = (bytes + alignment - 1) / alignment * alignment;
  data_.reset(static_cast<float*>(std::aligned_alloc(alignment, whole)));
  if (data_ == nullptr && whole > 0) throw std::bad_alloc();
  // Before the first access, which is when the kernel chooses the size of a page.
  if (alignment == kHugePage) madvise(data_.get(), whole, MADV_HUGEPAGE);
  std::memset(data_.get(), 0, whole);
}

void Buffer::Free::operator()(float* data) const { std::free(data); }

}  // namespace scalpel::kernels
