#include "client/cpp/call.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/affinity.h"
#include "client/cpp/retry.h"
#include "client/cpp/security.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace scalpel::client {
namespace {

// Far more than a chunk of tensor data needs: statistics per position of many prompts arrive in one
// message.
constexpr int kMessageBytesMax = 256 << 20;

std::shared_ptr<grpc::Channel> Connect(const std::string& server, const Security& security) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  // gRPC would use an HTTP proxy from the environment even for a server on this machine.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Makes the channel try to connect again before each further attempt.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS,
                   static_cast<int>(kFirstPauseSeconds * 1000));
  if (!security.tls) {
    return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
  }
  if (!security.server_name.empty()) arguments.SetSslTargetNameOverride(security.server_name);
  grpc::SslCredentialsOptions pem;
  pem.pem_root_certs = security.ca;
  pem.pem_private_key = security.key;
  pem.pem_cert_chain = security.certificate;
  return grpc::CreateCustomChannel(server, grpc::SslCredentials(pem), arguments);
}

}  // namespace

Call::Call(const Options& options)
    : options_(options),
      deadline_(absl::Now() + absl::Seconds(options.deadline_seconds)),
      channel_(Connect(options.server, options.security)),
      interrupt_([this] { Cancel(); }) {}

grpc::Status Call::Make(absl::FunctionRef<grpc::Status(grpc::ClientContext*)> attempt) {
  for (int made = 1;; ++made) {
    grpc::ClientContext context;
    Prepare(&context);
    {
      absl::MutexLock lock(&mutex_);
      context_ = &context;
      if (cancelled_) context.TryCancel();
    }
    const grpc::Status status = attempt(&context);
    absl::MutexLock lock(&mutex_);
    context_ = nullptr;
    if (!again_ || cancelled_) return status;
    const std::optional<absl::Duration> pause = PauseAfter(status, made, deadline_ - absl::Now());
    if (!pause || mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), *pause)) return status;
  }
}

bool Call::Pause(absl::Duration pause) {
  absl::MutexLock lock(&mutex_);
  if (mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), pause)) return false;
  deadline_ = absl::Now() + absl::Seconds(options_.deadline_seconds);
  return true;
}

void Call::Prepare(grpc::ClientContext* context) const {
  context->set_deadline(absl::ToChronoTime(deadline_));
  if (!options_.request_id.empty()) context->AddMetadata("x-request-id", options_.request_id);
  if (!affinity_.empty()) context->AddMetadata(kAffinityKey, affinity_);
  if (const std::string& token = options_.security.token; !token.empty()) {
    context->AddMetadata("authorization", absl::StrCat("Bearer ", token));
  }
}

void Call::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  if (context_ != nullptr) context_->TryCancel();
}

ExitCode Call::End(const grpc::Status& status, std::ostream& err) const {
  if (interrupt_.happened()) {
    err << "scalpel-cli: interrupted\n";
    return kInterrupted;
  }
  if (!status.ok()) PrintError(err, status, options_);
  return ExitCodeOf(status);
}

}  // namespace scalpel::client
