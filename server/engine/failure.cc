#include "server/engine/failure.h"

#include <new>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/errors.h"

namespace scalpel::engine {
namespace {

constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);

enum class Kind { kMemory, kDevice, kOther };

struct Thrown {
  Kind kind;
  std::string text;
};

// The only place that looks into an exception.
Thrown LookInto(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const c10::OutOfMemoryError& error) {
    return {Kind::kMemory, absl::StrCat("out of memory: ", error.what_without_backtrace())};
  } catch (const std::bad_alloc&) {
    return {Kind::kMemory, "out of memory"};
  } catch (const c10::AcceleratorError& error) {
    return {Kind::kDevice, absl::StrCat("the device failed: ", error.what_without_backtrace())};
  } catch (const c10::Error& error) {
    return {Kind::kOther, error.what_without_backtrace()};
  } catch (const std::exception& error) {
    return {Kind::kOther, error.what()};
  } catch (...) {
    return {Kind::kOther, "an exception of an unknown type"};
  }
}

}  // namespace

bool IsDeviceFailure(const std::exception_ptr& failure) {
  return LookInto(failure).kind == Kind::kDevice;
}

std::string TextOf(const std::exception_ptr& failure) { return LookInto(failure).text; }

absl::Status StatusOf(const std::exception_ptr& failure, const std::string& request_id) {
  if (LookInto(failure).kind == Kind::kMemory) {
    return Because(Reason::kOutOfMemory,
                   Busy("the device ran out of memory; try again, or ask for less", kRetryDelay));
  }
  return absl::InternalError(
      absl::StrCat("internal error; the server's log has details under request id ", request_id));
}

}  // namespace scalpel::engine
