// Errors as absl::Status. google.rpc details travel as payloads of the status, so that only rpc/
// needs to know gRPC. All functions are thread-safe.

#ifndef SCALPEL_SERVER_BASE_ERRORS_H_
#define SCALPEL_SERVER_BASE_ERRORS_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "google/protobuf/message.h"

namespace scalpel {

// Attaches a google.rpc detail under its type URL, `type.googleapis.com/<full name>`.
void AttachDetail(absl::Status& status, const google::protobuf::Message& detail);

// Returns INVALID_ARGUMENT with a google.rpc.BadRequest that holds one violation. `field`: the path
// of the field, as in Violations::Add.
absl::Status InvalidField(absl::string_view field, absl::string_view description);

// Returns RESOURCE_EXHAUSTED with google.rpc.RetryInfo: the same request can succeed after
// `retry_delay`. A negative delay counts as zero.
absl::Status Busy(absl::string_view message, absl::Duration retry_delay);

// Returns RESOURCE_EXHAUSTED with google.rpc.QuotaFailure: the request exceeds `limit`, and a retry
// cannot succeed. The attached reason is kResponseTooLarge.
absl::Status OverLimit(absl::string_view limit, absl::string_view description);

// Why a call was refused, for logs and metrics.
enum class Reason {
  kQueueFull,         // the engine's queue is full
  kBufferedBytes,     // too many response bytes are reserved for slow readers
  kKvBytes,           // too many bytes are reserved for keys and values of generations
  kCallerCalls,       // the caller has too many calls under way
  kCallerRate,        // the caller has used up its tokens per second
  kCallsMax,          // the server has too many calls under way
  kUnauthenticated,   // the token or certificate is missing, unknown or expired
  kPermission,        // the caller's role does not allow the method
  kResponseTooLarge,  // the response, or the memory needed to compute it, exceeds a limit
  kOutOfMemory,
  kUnavailable,  // the server is loading the model or draining
  kInvalid,      // the request itself is wrong
};
// Returns every reason, in the order of the enum.
absl::Span<const Reason> AllReasons();
// Returns the spelling used in logs and metrics, such as `queue_full`.
absl::string_view ReasonWord(Reason reason);

// Returns `status` with `reason` attached. A reason that is already attached is kept, and OK is
// returned unchanged. Reasons are never sent to clients.
absl::Status WithReason(Reason reason, absl::Status status);
// Returns the attached reason, or nullopt if there is none.
std::optional<Reason> ReasonOf(const absl::Status& status);
// The type URL of the payload that holds the reason. rpc/errors drops this payload.
inline constexpr absl::string_view kReasonPayload = "scalpel/reason";

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_ERRORS_H_
