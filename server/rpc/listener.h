// The gRPC server around the service: port, transport limits, health service and reflection.

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
  // Decides whether a call of server reflection may proceed.
  Admit admit_reflection = [](auto*, auto*) { return absl::OkStatus(); };
};

// Returns the gRPC target at which --healthcheck reaches a server on this machine that listens on
// `port` with TLS: a Unix socket in Linux's abstract namespace. It is not encrypted, because
// --healthcheck could not verify the server's certificate.
std::string HealthTarget(absl::string_view port);

// Returns whether a call came through the health socket. The health socket is unauthenticated; only
// health may be called on it.
bool CameByHealthTarget(absl::string_view peer);

// INTERNAL: a method is declared that the service does not take raw, so that gRPC would answer for
// it.
absl::Status CheckServed(const grpc::Service& service);

class Listener {
 public:
  // Binds the address and starts to answer; the health service says NOT_SERVING. `service` must
  // outlive the listener. INVALID_ARGUMENT: a TLS file is unusable. UNAVAILABLE: the address cannot
  // be bound. Both name the flag. INTERNAL: gRPC does not start.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const ListenOptions& options,
                                                        Service* service);
  // As Shutdown.
  ~Listener();

  // Returns HOST:PORT with the bound port.
  const std::string& address() const { return acceptor_->address(); }

  // Returns the number of open connections.
  int64_t connections() const { return acceptor_->open(); }
  // Returns the number of connections refused because too many were open.
  int64_t connections_refused() const { return acceptor_->refused(); }

  // Returns how often the TLS files were reloaded.
  const net::TlsReloads& tls_reloads() const { return tls_reloads_; }

  // Sets what the health service reports, for the server as a whole and for the service.
  void SetServing(bool serving);

  // Stops accepting connections. Open connections are not affected. Idempotent.
  void StopAccepting();

  // Closes the connections of these peers, which are written as in gRPC. Data already sent still
  // arrives.
  void HangUp(const std::vector<std::string>& peers);

  // Stops accepting, closes all connections, and cancels the calls in progress. Returns when the
  // last of them has ended. Idempotent.
  void Shutdown();

 private:
  Listener() = default;

  absl::Status Bind(const ListenOptions& options);
  absl::Status Serve(const ListenOptions& options, Service* service);

  // The order matters, since members are destroyed in reverse: the server uses those before it.
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
