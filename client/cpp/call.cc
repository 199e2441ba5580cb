#include "client/cpp/call.h"

#include <chrono>

#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace scalpel::client {
namespace {

// Above a chunk of tensor data by far: statistics per position of many prompts come in one message.
constexpr int kMessageBytesMax = 256 << 20;

std::shared_ptr<grpc::Channel> Connect(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  // A proxy from the environment would also be asked for a server on this machine.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

Call::Call(const Options& options)
    : server_(options.server),
      channel_(Connect(options.server)),
      interrupt_([this] { context_.TryCancel(); }) {
  context_.set_deadline(
      std::chrono::system_clock::now() +
      std::chrono::milliseconds(static_cast<int64_t>(options.deadline_seconds * 1000)));
  if (!options.request_id.empty()) context_.AddMetadata("x-request-id", options.request_id);
}

ExitCode Call::End(const grpc::Status& status, std::ostream& err) const {
  if (interrupt_.happened()) {
    err << "scalpel-cli: interrupted\n";
    return kInterrupted;
  }
  if (!status.ok()) PrintError(err, status, server_);
  return ExitCodeOf(status);
}

}  // namespace scalpel::client
