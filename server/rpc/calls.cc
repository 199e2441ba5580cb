#include "server/rpc/calls.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/rpc/access_log.h"
#include "server/rpc/entrance.h"
#include "server/rpc/errors.h"

namespace scalpel::rpc {
namespace {

// A guess: it is not known when a call will end.
constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);

}  // namespace

Call Calls::Begin(grpc::CallbackServerContext* context, absl::string_view method) {
  Call call = ReceiveCall(context, method);
  metrics_.CallBegan(method);
  call.admission = Guarded([&] { return Admit(*context, &call); });
  return call;
}

absl::Status Calls::Admit(const grpc::CallbackServerContext& context, Call* call) {
  if (absl::Status status = EnterGate(context, gate_, call); !status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  // GetStatus is exempt, so that an operator can find out why the server is busy.
  if (under_way_ >= calls_max_ && call->method != "GetStatus") {
    return WithReason(Reason::kCallsMax, Busy(absl::StrCat("as many calls are under way as may "
                                                           "be (",
                                                           calls_max_, "); try again"),
                                              kRetryDelay));
  }
  ++under_way_;
  ++counts_.by_method[std::string(call->method)];
  ++counts_.by_caller[call->caller];
  call->counted = true;
  return absl::OkStatus();
}

void Calls::End(Call& call, const absl::Status& status) {
  const std::string code = absl::StatusCodeToString(WireCode(status));
  const std::optional<Reason> reason = RejectionReason(status);
  // Not negative, even if the clock was set back: the sum of a histogram must not decrease.
  const absl::Duration total = std::max(absl::Now() - call.began, absl::ZeroDuration());
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
  GiveBack(call);
  absl::MutexLock lock(&mutex_);
  ++counts_.by_method_ended[std::string(call.method)];
}

void Calls::GiveBack(Call& call) {
  call.permit.reset();
  if (!std::exchange(call.counted, false)) return;
  absl::MutexLock lock(&mutex_);
  --under_way_;
  --counts_.by_method[std::string(call.method)];
  const auto caller = counts_.by_caller.find(call.caller);
  if (--caller->second == 0) counts_.by_caller.erase(caller);
}

Calls::Counts Calls::counts() const {
  absl::MutexLock lock(&mutex_);
  return counts_;
}

std::optional<Reason> RejectionReason(const absl::Status& status) {
  if (const std::optional<Reason> noted = ReasonOf(status)) return noted;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
      return Reason::kInvalid;
    case absl::StatusCode::kUnavailable:
      return Reason::kUnavailable;
    default:
      return std::nullopt;
  }
}

}  // namespace scalpel::rpc
