// The gRPC server around the service: its port, the limits of the transport, health and reflection.

#ifndef SCALPEL_SERVER_RPC_LISTENER_H_
#define SCALPEL_SERVER_RPC_LISTENER_H_

#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/limits.h"
#include "server/rpc/service.h"

namespace scalpel::rpc {

class Listener {
 public:
  // Binds `address`, HOST:PORT (port 0: any free one), and answers from then on; the health service
  // says NOT_SERVING. `service` outlives this object. UNAVAILABLE: the address cannot be had.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const std::string& address,
                                                        const Limits& limits, Service* service);
  // Cuts off what is left.
  ~Listener();

  // HOST:PORT with the port that was bound.
  const std::string& address() const { return address_; }

  // What the health service says of the server as a whole and of the service.
  void SetServing(bool serving);

  // Takes no new connections, waits for the calls under way, and cuts off what is left at
  // `deadline`.
  void Shutdown(absl::Time deadline);

 private:
  Listener(std::unique_ptr<grpc::Server> server, std::string address)
      : server_(std::move(server)), address_(std::move(address)) {}

  const std::unique_ptr<grpc::Server> server_;
  const std::string address_;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_LISTENER_H_
