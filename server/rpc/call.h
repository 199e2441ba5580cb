// The state of one call, from its arrival to its line in the access log.

#ifndef SCALPEL_SERVER_RPC_CALL_H_
#define SCALPEL_SERVER_RPC_CALL_H_

#include <grpcpp/server_context.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/access/gate.h"
#include "server/rpc/trace_context.h"

namespace scalpel::rpc {

// Not thread-safe.
struct Call {
  std::string request_id;
  absl::string_view method;  // a literal, such as `Run`
  std::string peer;          // as gRPC writes it, such as `ipv4:192.0.2.7:50123`
  TraceContext trace;
  absl::Time began;
  absl::Time deadline = absl::InfiniteFuture();
  // OK if the call may proceed, else the refusal of the gate or of the server's limits.
  absl::Status admission;
  // The caller's permit, from admission to the end of the call.
  std::optional<access::Permit> permit;
  bool counted = false;  // whether Calls counts this call as in progress

  // The outcome of a streaming call so far.
  bool computed = false;  // the computation has finished: the next three fields are set
  int64_t tokens = 0;     // computed
  int64_t queue_us = 0;
  int64_t compute_us = 0;
  int64_t response_bytes = 0;  // size of the messages written
  int64_t tensor_bytes = 0;    // size of the tensor data in them

  std::string caller;  // the caller's name; empty if not admitted
  // Charges the caller for tokens. RESOURCE_EXHAUSTED with RetryInfo: it has exceeded its rate.
  absl::Status Charge(int64_t tokens_asked);
  // Returns charged tokens, because the call has not used them.
  void Refund(int64_t tokens_asked);
};

// Returns the value of a metadata key; nullopt if it has no value or several. The view is valid as
// long as `context`.
std::optional<absl::string_view> MetadataOf(const grpc::CallbackServerContext& context,
                                            absl::string_view key);

// Returns whether `id` is a valid request id: 1 to 64 characters of [A-Za-z0-9._-].
bool IsRequestId(absl::string_view id);

// Returns how `call` ended if gRPC says at `now` that it was cancelled: DEADLINE_EXCEEDED if its
// deadline has passed, or is so near that it has passed for the client, which resets the call then;
// else CANCELLED.
absl::Status CancellationStatus(const Call& call, absl::Time now);

// Starts the record of a call that has just arrived. Its id is the valid `x-request-id` of the
// metadata, or else a new one, and is sent back in the initial metadata. The call is not admitted
// yet. `method` must be a literal.
Call ReceiveCall(grpc::CallbackServerContext* context, absl::string_view method);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_CALL_H_
