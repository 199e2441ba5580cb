// What the server knows of one call, and the line of the access log that it leaves.

#ifndef SCALPEL_SERVER_RPC_CALL_H_
#define SCALPEL_SERVER_RPC_CALL_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace scalpel::rpc {

struct Call {
  std::string request_id;
  std::string method;  // such as `Run`
  std::string peer;
  absl::Time began;
  // Of a streaming call, as far as it came.
  int64_t tokens = 0;
  int64_t queue_us = 0;
  int64_t compute_us = 0;
};

// The caller's request id if it is 1 to 64 characters of [A-Za-z0-9._-].
bool IsRequestId(absl::string_view id);

// Notes who calls, under the caller's `x-request-id` or one made here, and sends the id back in the
// initial metadata. `method` is a literal.
Call BeginCall(grpc::CallbackServerContext* context, absl::string_view method);

// Writes one line. It never holds what the caller wrote beyond a request id: no prompts.
void LogCall(const Call& call, const grpc::Status& status);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_CALL_H_
