#include "server/rpc/entrance.h"

#include <grpcpp/security/auth_context.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/strip.h"
#include "server/base/errors.h"
#include "server/net/credentials.h"
#include "server/rpc/listener.h"

namespace scalpel::rpc {
namespace {

// Each kind of refusal by the gate has its own status code.
Reason ReasonFor(const absl::Status& status) {
  if (absl::IsUnauthenticated(status)) return Reason::kUnauthenticated;
  return absl::IsPermissionDenied(status) ? Reason::kPermission : Reason::kCallerCalls;
}

}  // namespace

absl::Status EnterGate(const grpc::CallbackServerContext& context, access::Gate& gate, Call* call) {
  const std::string peer = context.peer();
  const std::shared_ptr<const grpc::AuthContext> shown = context.auth_context();
  const std::string certificate = shown == nullptr ? "" : net::CertificateName(*shown);
  absl::StatusOr<access::Permit> permit =
      gate.Enter({.authorization = MetadataOf(context, "authorization").value_or(""),
                  .certificate = certificate,
                  .peer = HostOf(peer),
                  .health_socket = CameByHealthTarget(peer)},
                 call->method, call->began);
  if (!permit.ok()) return WithReason(ReasonFor(permit.status()), permit.status());
  call->caller = permit->name();
  call->permit = *std::move(permit);
  return absl::OkStatus();
}

absl::string_view HostOf(absl::string_view peer) {
  if (!absl::ConsumePrefix(&peer, "ipv4:")) absl::ConsumePrefix(&peer, "ipv6:");
  return peer.substr(0, peer.rfind(':'));
}

}  // namespace scalpel::rpc
