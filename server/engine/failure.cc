#include "server/engine/failure.h"

#include <new>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace scalpel::engine {
namespace {

struct Thrown {
  bool out_of_memory;
  std::string text;
};

// The only place that looks into an exception.
Thrown LookInto(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const c10::OutOfMemoryError& error) {
    return {true, absl::StrCat("out of memory: ", error.what_without_backtrace())};
  } catch (const std::bad_alloc&) {
    return {true, "out of memory"};
  } catch (const c10::AcceleratorError& error) {
    return {false, absl::StrCat("the device failed: ", error.what_without_backtrace())};
  } catch (const c10::Error& error) {
    return {false, error.what_without_backtrace()};
  } catch (const std::exception& error) {
    return {false, error.what()};
  } catch (...) {
    return {false, "an exception of an unknown type"};
  }
}

}  // namespace

std::string TextOf(const std::exception_ptr& failure) { return LookInto(failure).text; }

absl::Status StatusOf(const std::exception_ptr& failure, const std::string& request_id) {
  if (LookInto(failure).out_of_memory) {
    return WithReason(
        Reason::kOutOfMemory,
        Busy("the device ran out of memory; try again, or ask for less", kRetryDelay));
  }
  return absl::InternalError(
      absl::StrCat("internal error; the server's log has details under request id ", request_id));
}

}  // namespace scalpel::engine
