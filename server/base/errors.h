// Errors as data: google.rpc details travel inside absl::Status as payloads, so that only the wire
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

// INVALID_ARGUMENT with a google.rpc.BadRequest that has this one violation.
absl::Status InvalidField(absl::string_view field, absl::string_view description);

// RESOURCE_EXHAUSTED with google.rpc.RetryInfo: a later attempt can succeed.
absl::Status Busy(absl::string_view message, absl::Duration retry_delay);

// RESOURCE_EXHAUSTED with google.rpc.QuotaFailure: this request exceeds `limit` and always will.
// Its reason is kResponseTooLarge.
absl::Status OverLimit(absl::string_view limit, absl::string_view description);

// Why a call is refused, for logs and metrics.
enum class Reason {
  kQueueFull,         // the engine's queue
  kBufferedBytes,     // too many bytes wait for slow readers
  kCallerCalls,       // the caller has too many calls under way
  kCallerRate,        // the caller has used up its tokens per second
  kCallsMax,          // the server has too many calls under way
  kUnauthenticated,   // no token or certificate that is accepted
  kPermission,        // the caller's role does not allow the method
  kResponseTooLarge,  // the response, or the memory that computing it takes
  kOutOfMemory,
  kUnavailable,  // loading or draining
  kInvalid,      // the request itself is wrong
};
// All of them, in this order.
absl::Span<const Reason> AllReasons();
// As logs and metrics spell it, such as `queue_full`.
absl::string_view ReasonWord(Reason reason);

// Attaches the reason. If one is attached already, it stays; OK is returned as it is. The reason
// never leaves the server (see kReasonPayload).
absl::Status Because(Reason reason, absl::Status status);
// The reason that is attached; nullopt: none is.
std::optional<Reason> ReasonOf(const absl::Status& status);
// The type URL of the payload that holds it, which the wire leaves out.
inline constexpr absl::string_view kReasonPayload = "scalpel/reason";

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_ERRORS_H_
