// What an engine may be made to fail with.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_THROW_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_THROW_H_

#include <c10/util/Exception.h>

#include <new>
#include <stdexcept>

#include "absl/status/status.h"

namespace scalpel::test {

inline constexpr int kThrowKinds = 5;

[[noreturn]] inline void Throw(int kind) {
  switch (kind) {
    case 0:
      throw std::bad_alloc();
    case 1:
      throw c10::OutOfMemoryError({"", "", 0}, "device memory");
    case 2:
      throw c10::Error({"", "", 0}, "a tensor does not fit");
    case 3:
      throw std::runtime_error("ours");
    default:
      throw 42;
  }
}

// How a call ends that fails with it.
inline absl::StatusCode CodeOfThrown(int kind) {
  return kind < 2 ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kInternal;
}

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_THROW_H_
