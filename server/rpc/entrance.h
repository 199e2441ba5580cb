// What a call shows to the gate.

#ifndef SCALPEL_SERVER_RPC_ENTRANCE_H_
#define SCALPEL_SERVER_RPC_ENTRANCE_H_

#include <grpcpp/server_context.h>

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/access/gate.h"
#include "server/rpc/call.h"

namespace scalpel::rpc {

// Asks the gate, with the call's token, client certificate and peer, and notes in `call` who calls,
// with its permit. Errors as Gate::Enter's, with the reason attached (Because).
absl::Status EnterGate(const grpc::CallbackServerContext& context, access::Gate& gate, Call* call);

// The value of a metadata key; nullopt: none, or several.
std::optional<absl::string_view> MetadataOf(const grpc::CallbackServerContext& context,
                                            absl::string_view key);

// The host of a peer as gRPC writes it, such as `ipv4:192.0.2.7:50123`.
absl::string_view HostOf(absl::string_view peer);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_ENTRANCE_H_
