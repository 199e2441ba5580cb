// The one seam between absl::Status and grpc::Status.

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

// The status as it goes to the client: code, message, and the google.rpc details in
// `grpc-status-details-bin`. Message and details are shortened to what clients accept in a trailer.
// An INTERNAL or UNKNOWN status is logged whole and reaches the client as one sentence with the
// request id, so that no path, pointer or library's text does.
grpc::Status ToGrpc(const absl::Status& status, absl::string_view request_id);
// Its code there.
absl::StatusCode WireCode(const absl::Status& status);

// Runs `body`, which returns absl::Status, and turns what it throws into a status. gRPC would
// swallow it, and the call would hang.
template <typename Body>
absl::Status Guarded(Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (const std::bad_alloc&) {
    return Because(Reason::kOutOfMemory,
                   Busy("the server is out of memory; try again", absl::Seconds(1)));
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  } catch (...) {
    return absl::InternalError("an exception of unknown type");
  }
}

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_ERRORS_H_
