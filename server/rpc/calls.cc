#include "server/rpc/calls.h"

#include <grpcpp/security/auth_context.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "server/rpc/access_log.h"
#include "server/rpc/errors.h"
#include "server/spec/violations.h"

namespace scalpel::rpc {
namespace {

// When a call will end is not known.
constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);

// The common name of a client certificate that gRPC has verified; empty: there is none.
std::string CertificateName(const grpc::AuthContext& peer) {
  if (!peer.IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> names = peer.FindPropertyValues("x509_common_name");
  return names.size() == 1 ? std::string(names[0].data(), names[0].size()) : "";
}

// The host of `ipv4:192.0.2.7:50123`.
absl::string_view HostOf(absl::string_view peer) {
  if (!absl::ConsumePrefix(&peer, "ipv4:")) absl::ConsumePrefix(&peer, "ipv6:");
  return peer.substr(0, peer.rfind(':'));
}

// Each refusal of the gate has a code of its own.
absl::string_view GateReason(const absl::Status& status) {
  if (absl::IsUnauthenticated(status)) return "unauthenticated";
  return absl::IsPermissionDenied(status) ? "permission" : "caller_calls";
}

}  // namespace

Call Calls::Begin(grpc::CallbackServerContext* context, absl::string_view method) {
  Call call = ReceiveCall(context, method);
  metrics_.CallBegan(method);
  call.admission = Guarded([&] { return Admit(*context, &call); });
  return call;
}

absl::Status Calls::Admit(const grpc::CallbackServerContext& context, Call* call) {
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  const std::string certificate = peer == nullptr ? "" : CertificateName(*peer);
  const access::Credentials shown = {
      .authorization = MetadataOf(context, "authorization").value_or(""),
      .certificate = certificate,
      .peer = HostOf(call->peer),
      .health_socket = absl::StartsWith(call->peer, "unix")};
  absl::StatusOr<access::Pass> pass = gate_.Enter(shown, call->method, call->began);
  if (!pass.ok()) return spec::Because(GateReason(pass.status()), pass.status());
  call->pass = *std::move(pass);
  absl::MutexLock lock(&mutex_);
  // Whoever asks why the server is busy gets an answer all the same.
  if (under_way_ >= calls_max_ && call->method != "GetStatus") {
    return spec::Because("calls_max", spec::Busy(absl::StrCat("as many calls are under way as may "
                                                              "be (",
                                                              calls_max_, "); try again"),
                                                 kRetryDelay));
  }
  ++under_way_;
  ++counts_.by_method[std::string(call->method)];
  ++counts_.by_caller[call->pass->name()];
  call->counted = true;
  return absl::OkStatus();
}

void Calls::End(Call& call, const absl::Status& status) {
  const std::string code = absl::StatusCodeToString(WireCode(status));
  const std::string reason = RejectionReason(status);
  const absl::Duration total = absl::Now() - call.began;
  const bool slow = slow_ > absl::ZeroDuration() && total > slow_;
  LogCall(call, code, reason, total);
  if (slow) LogSlowCall(call, code, reason, total);
  metrics_.CallEnded({.method = call.method,
                      .code = code,
                      .reason = reason,
                      .total = total,
                      .computed = call.computed,
                      .queue = absl::Microseconds(call.queue_us),
                      .compute = absl::Microseconds(call.compute_us),
                      .tokens = call.tokens,
                      .response_bytes = call.response_bytes,
                      .tensor_bytes = call.tensor_bytes,
                      .slow = slow});
  {
    absl::MutexLock lock(&mutex_);
    ++counts_.by_method_ended[std::string(call.method)];
    if (call.counted) {
      --under_way_;
      --counts_.by_method[std::string(call.method)];
      const auto caller = counts_.by_caller.find(call.pass->name());
      if (--caller->second == 0) counts_.by_caller.erase(caller);
      call.counted = false;
    }
  }
  call.pass.reset();
}

Calls::Counts Calls::counts() const {
  absl::MutexLock lock(&mutex_);
  return counts_;
}

std::string RejectionReason(const absl::Status& status) {
  if (std::string noted = spec::ReasonOf(status); !noted.empty()) return noted;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kFailedPrecondition:
      return "invalid";
    case absl::StatusCode::kUnavailable:
      return "unavailable";
    default:
      return "";
  }
}

}  // namespace scalpel::rpc
