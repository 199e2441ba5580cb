// Extracts a call's credentials and asks the gate.

#ifndef SCALPEL_SERVER_RPC_ENTRANCE_H_
#define SCALPEL_SERVER_RPC_ENTRANCE_H_

#include <grpcpp/server_context.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/access/gate.h"
#include "server/rpc/call.h"

namespace scalpel::rpc {

// Asks `gate` whether the call may proceed, given its token, client certificate and peer. On
// success sets the caller's name and permit in `call`. Errors as in Gate::Enter, with the reason
// attached (see WithReason).
absl::Status EnterGate(const grpc::CallbackServerContext& context, access::Gate& gate, Call* call);

// Returns the host of a peer that is written as in gRPC, such as `ipv4:192.0.2.7:50123`.
absl::string_view HostOf(absl::string_view peer);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_ENTRANCE_H_
