// What a call shows to the gate.

#ifndef SCALPEL_SERVER_RPC_ENTRANCE_H_
#define SCALPEL_SERVER_RPC_ENTRANCE_H_

#include <grpcpp/server_context.h>

#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/access/gate.h"

namespace scalpel::rpc {

// Asks the gate, with the call's token, client certificate and peer. Errors as Gate::Enter's, with
// the reason noted (spec::Because).
absl::StatusOr<access::Pass> EnterGate(const grpc::CallbackServerContext& context,
                                       absl::string_view method, absl::Time now,
                                       access::Gate& gate);

// The value of a metadata key; nullopt: none, or several.
std::optional<absl::string_view> MetadataOf(const grpc::CallbackServerContext& context,
                                            absl::string_view key);

// The host of a peer as gRPC writes it, such as `ipv4:192.0.2.7:50123`.
absl::string_view HostOf(absl::string_view peer);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_ENTRANCE_H_
