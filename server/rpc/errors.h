// Converts absl::Status to grpc::Status. All functions are thread-safe.

#ifndef SCALPEL_SERVER_RPC_ERRORS_H_
#define SCALPEL_SERVER_RPC_ERRORS_H_

#include <grpcpp/support/status.h>

#include <exception>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/errors.h"

namespace scalpel::rpc {

// Returns the status to send to the client: the code, the message, and the google.rpc details as
// `grpc-status-details-bin`, with `request_id` as a RequestInfo. Message and details are shortened
// to what clients accept in a trailer. INTERNAL and UNKNOWN become INTERNAL with a fixed message
// that holds only the request id, so that no path, pointer or library's text leaks; the original
// message is logged.
grpc::Status ToGrpc(const absl::Status& status, absl::string_view request_id);
// Returns the code that ToGrpc sends for `status`.
absl::StatusCode WireCode(const absl::Status& status);

// Runs `body`, which returns absl::Status, and converts an exception to a status:
// RESOURCE_EXHAUSTED with RetryInfo for std::bad_alloc, and INTERNAL for all others. gRPC would
// swallow the exception, and the call would hang.
template <typename Body>
absl::Status Guarded(Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (const std::bad_alloc&) {
    return WithReason(Reason::kOutOfMemory,
                      Busy("the server is out of memory; try again", absl::Seconds(1)));
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  } catch (...) {
    return absl::InternalError("an exception of unknown type");
  }
}

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_ERRORS_H_
