// The memory that is allocated while something runs. Needs a sanitizer's allocator.

#ifndef SCALPEL_TESTS_FUZZ_PEAK_MEMORY_H_
#define SCALPEL_TESTS_FUZZ_PEAK_MEMORY_H_

#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <cstdint>

#include "tests/fuzz/fuzz.h"

namespace scalpel::fuzz {

// Counts on the thread that made it, from then on.
class PeakMemory {
 public:
  PeakMemory() {
    static const bool installed =
        __sanitizer_install_malloc_and_free_hooks(&Allocated, &Freed) != 0;
    HOLDS(installed);
    now_ = peak_ = 0;
    counts_ = true;
  }
  ~PeakMemory() { counts_ = false; }
  PeakMemory(const PeakMemory&) = delete;
  PeakMemory& operator=(const PeakMemory&) = delete;

  // The most that was there at once, beyond what was there at the beginning.
  static int64_t bytes() { return peak_; }

 private:
  static void Allocated(const volatile void* pointer, size_t size) {
    if (!counts_ || pointer == nullptr) return;
    now_ += static_cast<int64_t>(size);
    peak_ = std::max(peak_, now_);
  }
  static void Freed(const volatile void* pointer) {
    if (counts_ && pointer != nullptr)
      now_ -= static_cast<int64_t>(__sanitizer_get_allocated_size(pointer));
  }

  static inline thread_local bool counts_ = false;
  static inline thread_local int64_t now_ = 0, peak_ = 0;
};

}  // namespace scalpel::fuzz

#endif  // SCALPEL_TESTS_FUZZ_PEAK_MEMORY_H_
