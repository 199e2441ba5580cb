// What is thrown while a wave runs: whose failure it is, and what the call is told.

#ifndef SCALPEL_SERVER_ENGINE_FAILURE_H_
#define SCALPEL_SERVER_ENGINE_FAILURE_H_

#include <c10/util/Exception.h>

#include <exception>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace scalpel::engine {

// Runs a part of a wave that is one task's or one job's alone, and returns what it throws: that
// one fails, and the others in the wave go on. Null: nothing. But a failed device answers every
// further call with the same error until the process ends, so its exception passes through.
template <typename Part>
std::exception_ptr FailureOf(Part part) {
  try {
    part();
  } catch (const c10::AcceleratorError&) {
    throw;
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

// When to try again what is refused because the engine is full or out of memory.
inline constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);

// What was thrown, for the log. It may hold paths, pointers and libraries' texts.
std::string TextOf(const std::exception_ptr& failure);

// How a call ends that failed so. RESOURCE_EXHAUSTED with RetryInfo: memory ran out. INTERNAL: all
// else, with the request id, under which the log says more.
absl::Status StatusOf(const std::exception_ptr& failure, const std::string& request_id);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_FAILURE_H_
