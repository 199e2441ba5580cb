// What the server knows of one call.

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

struct Call {
  std::string request_id;
  absl::string_view method;  // a literal, such as `Run`
  std::string peer;
  TraceContext trace;
  absl::Time began;
  // Whether it may go on: what the gate and the server's limits say.
  absl::Status admission;
  // The caller's, once it is admitted: who it is, and its share of the limits until the call ends.
  std::optional<access::Permit> permit;
  bool counted = false;  // among those under way

  // Of a streaming call, as far as it came.
  bool computed = false;  // to its end: the next three are known
  int64_t tokens = 0;
  int64_t queue_us = 0;
  int64_t compute_us = 0;
  int64_t response_bytes = 0;  // written, as messages
  int64_t tensor_bytes = 0;    // of them the data of tensors

  std::string caller;  // who calls; empty: not admitted
  // Takes the tokens from the caller's share. RESOURCE_EXHAUSTED with RetryInfo: it has too few.
  absl::Status Charge(int64_t tokens_asked);
  // Gives them back, because the call came to nothing.
  void Refund(int64_t tokens_asked);
};

// The caller's request id if it is 1 to 64 characters of [A-Za-z0-9._-].
bool IsRequestId(absl::string_view id);

// Notes who calls, under the caller's `x-request-id` or one made here, and sends the id back in the
// initial metadata. The call is not admitted yet.
Call ReceiveCall(grpc::CallbackServerContext* context, absl::string_view method);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_CALL_H_
