// A listener on a port of its own, and connections to it.

#ifndef SCALPEL_TESTS_UNIT_RPC_LISTENER_FIXTURE_H_
#define SCALPEL_TESTS_UNIT_RPC_LISTENER_FIXTURE_H_

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/grpc/health/v1/health.grpc.pb.h"
#include "server/contract/methods.h"
#include "server/rpc/listener.h"
#include "tests/unit/rpc/patience.h"

namespace scalpel::rpc {

inline std::string Port(const std::string& address) {
  return address.substr(address.rfind(':') + 1);
}

class ListenerTest : public testing::Test {
 protected:
  ListenerTest() { options_.address = "127.0.0.1:0"; }

  void Open() {
    auto listener = Listener::Open(options_, &service_);
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
  }

  // A channel with a connection of its own.
  std::shared_ptr<grpc::Channel> Channel(const std::shared_ptr<grpc::ChannelCredentials>&
                                             credentials = grpc::InsecureChannelCredentials()) {
    return ChannelTo(listener_->address(), credentials);
  }

  static std::shared_ptr<grpc::Channel> ChannelTo(
      const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(target, credentials, arguments);
  }

  static grpc::Status Check(const std::shared_ptr<grpc::Channel>& channel,
                            grpc::health::v1::HealthCheckResponse* response) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    return grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, response);
  }

  static grpc::Status Check(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::health::v1::HealthCheckResponse response;
    return Check(channel, &response);
  }

  access::Gate gate_{access::Policy()};
  insight::Metrics metrics_{contract::MethodNames()};
  Service service_{Limits(), {.gate = gate_, .metrics = metrics_}};
  ListenOptions options_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_TESTS_UNIT_RPC_LISTENER_FIXTURE_H_
