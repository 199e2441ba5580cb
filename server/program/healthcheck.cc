#include "server/program/healthcheck.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>
#include <cstdio>

#include "proto/grpc/health/v1/health.grpc.pb.h"
#include "server/base/address.h"
#include "server/base/utf8.h"
#include "server/rpc/listener.h"

namespace scalpel {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckResponse;

constexpr std::chrono::seconds kPatience(2);

}  // namespace

int RunHealthcheck(const std::string& listen, bool tls) {
  const std::string target =
      tls ? rpc::HealthTarget(listen.substr(listen.rfind(':') + 1)) : Reachable(listen);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // the server is on this machine
  const auto channel =
      grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  HealthCheckResponse response;
  const grpc::Status status = Health::NewStub(channel)->Check(&context, {}, &response);
  if (status.ok() && response.status() == HealthCheckResponse::SERVING) return 0;
  const std::string found = status.ok() ? HealthCheckResponse::ServingStatus_Name(response.status())
                                        : OneLine(status.error_message());
  std::fprintf(stderr, "scalpel-server: not serving at %s: %s\n", target.c_str(), found.c_str());
  return 1;
}

}  // namespace scalpel
