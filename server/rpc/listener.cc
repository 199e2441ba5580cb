#include "server/rpc/listener.h"

#include <grpc/grpc.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "proto/grpc/health/v1/health.grpc.pb.h"
#include "server/net/descriptors.h"

namespace scalpel::rpc {
namespace {

using grpc::experimental::ExternalConnectionAcceptor;
using ExternalConnections = grpc::ServerBuilder::experimental_type::ExternalConnectionType;

// A client that vanishes silently, as when a cable is pulled, is noticed after both times together.
constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
// The time for the TLS handshake and the HTTP/2 settings of a new connection.
constexpr int kHandshakeTimeoutMs = 20'000;
constexpr int kIdleConnectionMs = 30 * 60'000;
// The shortest interval of HTTP/2 pings from a client. One that pings too soon more than twice is
// disconnected (ENHANCE_YOUR_CALM).
constexpr int kPingIntervalMs = 10'000;
constexpr int kPingStrikes = 2;
// The limit on open connections to the health socket.
constexpr int32_t kHealthConnectionsMax = 16;

constexpr char kTargetScheme[] = "unix-abstract:";

void SetLimits(const ListenOptions& options, grpc::ServerBuilder* builder) {
  const Limits& limits = options.limits;
  const std::pair<const char*, int> arguments[] = {
      {GRPC_ARG_MAX_CONCURRENT_STREAMS, limits->max_streams_per_connection()},
      {GRPC_ARG_MAX_METADATA_SIZE, limits->max_metadata_bytes()},
      {GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs},
      {GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleConnectionMs},
      {GRPC_ARG_MAX_CONNECTION_AGE_MS,
       static_cast<int>(absl::ToInt64Milliseconds(options.connection_age))},
      {GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs},
      {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs},
      {GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1},
      {GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingIntervalMs},
      {GRPC_ARG_HTTP2_MAX_PING_STRIKES, kPingStrikes},
  };
  for (const auto& [name, value] : arguments) builder->AddChannelArgument(name, value);
  builder->SetMaxReceiveMessageSize(static_cast<int>(limits->max_request_bytes()));
  // Messages are inflated before their size is checked, so none may come compressed.
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  grpc::ResourceQuota quota("transport");
  quota.Resize(static_cast<size_t>(options.transport_bytes));
  builder->SetResourceQuota(quota);
}

// Returns a function that hands connections to the server that `builder` will build.
net::Acceptor::Hand HandToServer(std::shared_ptr<grpc::ServerCredentials> credentials,
                                 grpc::ServerBuilder* builder) {
  // Experimental in this and all newer versions of gRPC, but the only API for a connection that
  // gRPC has not accepted itself.
  const std::shared_ptr<ExternalConnectionAcceptor> server =
      builder->experimental().AddExternalConnectionAcceptor(ExternalConnections::FROM_FD,
                                                            std::move(credentials));
  return [server](int fd) {
    ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = fd;
    // gRPC 1.83 drops a connection if this is negative, and makes no other use of it.
    connection.listener_fd = fd;
    server->HandleNewConnection(&connection);
  };
}

std::string Port(absl::string_view address) {
  return std::string(address.substr(address.rfind(':') + 1));
}

// Returns the HOST:PORT of a peer that is written as in gRPC: [::1]:50123 for
// `ipv6:%5B::1%5D:50123`.
std::string AddressOf(absl::string_view peer) {
  if (!absl::ConsumePrefix(&peer, "ipv4:")) absl::ConsumePrefix(&peer, "ipv6:");
  return absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
}

}  // namespace

std::string HealthTarget(absl::string_view port) {
  return absl::StrCat(kTargetScheme, "scalpel-", port);
}

bool CameByHealthTarget(absl::string_view peer) { return absl::StartsWith(peer, "unix"); }

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(const ListenOptions& options,
                                                         Service* service) {
  std::unique_ptr<Listener> listener(new Listener);
  absl::Status status = listener->Bind(options);
  if (status.ok()) status = listener->Serve(options, service);
  if (!status.ok()) return status;
  return listener;
}

absl::Status Listener::Bind(const ListenOptions& options) {
  auto credentials = net::MakeCredentials(options.tls, &tls_reloads_);
  if (!credentials.ok()) return credentials.status();
  credentials_ = *std::move(credentials);
  auto acceptor = net::Acceptor::Listen(options.address);
  if (acceptor.ok()) {
    acceptor_ = *std::move(acceptor);
    if (!options.tls.any()) return absl::OkStatus();
    const std::string target = HealthTarget(Port(address()));
    acceptor = net::Acceptor::ListenLocally(std::string(absl::StripPrefix(target, kTargetScheme)));
    if (acceptor.ok()) health_acceptor_ = *std::move(acceptor);
  }
  if (acceptor.ok()) return absl::OkStatus();
  return absl::Status(acceptor.status().code(),
                      absl::StrCat("--listen: ", acceptor.status().message()));
}

absl::Status CheckServed(const grpc::Service& service) {
  if (!service.has_synchronous_methods()) return absl::OkStatus();
  return absl::InternalError(
      "a method of scalpel.v1.InterventionService is declared and not served; name it in "
      "RawInterventionService");
}

absl::Status Listener::Serve(const ListenOptions& options, Service* service) {
  if (absl::Status status = CheckServed(*service); !status.ok()) return status;
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  SetLimits(options, &builder);
  builder.RegisterService(service);
  std::vector<std::string> names = ReflectionNames();
  names.push_back(grpc::health::v1::Health::service_full_name());
  names.push_back(v1::InterventionService::service_full_name());
  reflection_ = MakeReflection(names, options.admit_reflection);
  for (const auto& reflection : reflection_) builder.RegisterService(reflection.get());
  net::Acceptor::Hand to_server = HandToServer(credentials_, &builder);
  net::Acceptor::Hand health_to_server;
  if (health_acceptor_ != nullptr) {
    health_to_server = HandToServer(grpc::InsecureServerCredentials(), &builder);
  }
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return absl::InternalError("gRPC does not start a server");
  SetServing(false);
  acceptor_->Start(net::ConnectionsAllowed(options.limits->max_connections()),
                   std::move(to_server));
  if (health_acceptor_ != nullptr) {
    health_acceptor_->Start(kHealthConnectionsMax, std::move(health_to_server));
  }
  return absl::OkStatus();
}

Listener::~Listener() { Shutdown(); }

void Listener::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  health->SetServingStatus("", serving);
  health->SetServingStatus(v1::InterventionService::service_full_name(), serving);
}

void Listener::StopAccepting() {
  if (acceptor_ != nullptr) acceptor_->Stop();
  if (health_acceptor_ != nullptr) health_acceptor_->Stop();
}

void Listener::HangUp(const std::vector<std::string>& peers) {
  std::set<std::string> addresses;
  for (const std::string& peer : peers) addresses.insert(AddressOf(peer));
  acceptor_->HangUp(addresses);
}

void Listener::Shutdown() {
  StopAccepting();  // first, because the server does not close connections that arrive after it
                    // ends
  if (server_ == nullptr || std::exchange(ended_, true)) return;
  // Closes all connections before the server shuts down, for two reasons. A call that arrives
  // during the shutdown would be answered with CANCELLED instead of failing with UNAVAILABLE. And
  // the shutdown would send GOAWAY, after which gRPC clients transparently retry the calls that
  // were not processed; clients up to version 1.62 then lose some of these, so that they hang
  // beyond their deadlines, when the port is closed.
  acceptor_->HangUpAll();
  if (health_acceptor_ != nullptr) health_acceptor_->HangUpAll();
  server_->Shutdown(std::chrono::system_clock::now());
}

}  // namespace scalpel::rpc
