// The gRPC server around the service: its port, the limits of the transport, health and reflection.

#ifndef SCALPEL_SERVER_RPC_LISTENER_H_
#define SCALPEL_SERVER_RPC_LISTENER_H_

#include <grpcpp/impl/service_type.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/contract/limits.h"
#include "server/net/acceptor.h"
#include "server/net/credentials.h"
#include "server/net/tls_files.h"
#include "server/rpc/reflection.h"
#include "server/rpc/service.h"

namespace scalpel::rpc {

struct ListenOptions {
  std::string address;  // HOST:PORT; port 0: any free one
  net::TlsFiles tls;
  Limits limits;
  int64_t transport_bytes = int64_t{256} << 20;  // received and not yet handed over, at most
  // After which clients are asked to connect anew: then a certificate that has expired meanwhile,
  // or that another authority is needed for, is seen, and so is a replica that has joined. Calls
  // under way are left to end. Each connection's differs by up to a tenth.
  absl::Duration connection_age = absl::Hours(1);
  Admit admit_reflection = [](auto*, auto*) { return absl::OkStatus(); };
};

// Where --healthcheck finds a server that has bound this port and speaks TLS, whose certificate it
// could not verify: a Unix socket in Linux's abstract namespace, as gRPC's clients write it.
std::string HealthTarget(absl::string_view port);

// Whether a call came through that socket, where nobody is who they are: health alone is for them.
bool CameByHealthTarget(absl::string_view peer);

// INTERNAL: a method is declared that the service does not take raw, so that gRPC would answer for
// it.
absl::Status CheckServed(const grpc::Service& service);

class Listener {
 public:
  // Binds the address, and answers from then on; the health service says NOT_SERVING. `service`
  // outlives this object. The error names the flag; UNAVAILABLE: the address cannot be had.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const ListenOptions& options,
                                                        Service* service);
  // Cuts off what is left.
  ~Listener();

  // HOST:PORT with the port that was bound.
  const std::string& address() const { return acceptor_->address(); }

  // Connections that are open, and those that were refused because too many were.
  int64_t connections() const { return acceptor_->open(); }
  int64_t connections_refused() const { return acceptor_->refused(); }

  // How often TLS's files were read anew.
  const net::TlsReloads& tls_reloads() const { return tls_reloads_; }

  // What the health service says of the server as a whole and of the service.
  void SetServing(bool serving);

  // Takes no new connections; those that are open go on. Idempotent.
  void StopAccepting();

  // Ends the connections of these peers, as gRPC calls them. What was sent before still arrives.
  void HangUp(const std::vector<std::string>& peers);

  // StopAccepting, and cuts off what is left. Idempotent.
  void Shutdown();

 private:
  Listener() = default;

  absl::Status Bind(const ListenOptions& options);
  absl::Status Serve(const ListenOptions& options, Service* service);

  // Destroyed from the last to the first: the server uses those before it.
  net::TlsReloads tls_reloads_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::vector<std::unique_ptr<grpc::Service>> reflection_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<net::Acceptor> acceptor_;
  std::unique_ptr<net::Acceptor> health_acceptor_;  // null without TLS
  bool ended_ = false;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_LISTENER_H_
