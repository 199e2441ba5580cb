#include "server/rpc/call.h"

#include <algorithm>
#include <cctype>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"

namespace scalpel::rpc {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";
constexpr char kTraceParentKey[] = "traceparent";
constexpr size_t kRequestIdBytesMax = 64;
// The server's deadline is later than the client's by the request's way here, and by what gRPC
// rounds up when it writes a timeout with three digits: at most a hundredth.
constexpr absl::Duration kWay = absl::Milliseconds(20);
constexpr double kRounding = 0.01;

// Returns the caller's id or a random one, which is unlikely to collide with another server's.
std::string RequestId(const grpc::CallbackServerContext& context) {
  const std::optional<absl::string_view> id = MetadataOf(context, kRequestIdKey);
  if (id && IsRequestId(*id)) return std::string(*id);
  return absl::StrCat(absl::Hex(RandomBits(), absl::kZeroPad16));
}

}  // namespace

absl::Status Call::Charge(int64_t tokens_asked) {
  if (!permit) return absl::OkStatus();
  return WithReason(Reason::kCallerRate, permit->Charge(tokens_asked, absl::Now()));
}

void Call::Refund(int64_t tokens_asked) {
  if (permit) permit->Refund(tokens_asked, absl::Now());
}

std::optional<absl::string_view> MetadataOf(const grpc::CallbackServerContext& context,
                                            absl::string_view key) {
  const auto [begin, end] =
      context.client_metadata().equal_range(grpc::string_ref(key.data(), key.size()));
  if (begin == end || std::next(begin) != end) return std::nullopt;
  return absl::string_view(begin->second.data(), begin->second.size());
}

bool IsRequestId(absl::string_view id) {
  return !id.empty() && id.size() <= kRequestIdBytesMax &&
         std::all_of(id.begin(), id.end(), [](unsigned char c) {
           return (c < 0x80 && std::isalnum(c)) || c == '.' || c == '_' || c == '-';
         });
}

absl::Status CancellationStatus(const Call& call, absl::Time now) {
  const absl::Duration early = kWay + kRounding * (call.deadline - call.began);
  return call.deadline != absl::InfiniteFuture() && now >= call.deadline - early
             ? absl::DeadlineExceededError("the deadline passed")
             : absl::CancelledError("the call was cancelled");
}

Call ReceiveCall(grpc::CallbackServerContext* context, absl::string_view method) {
  Call call;
  call.began = absl::Now();
  call.deadline = absl::FromChrono(context->deadline());
  call.request_id = RequestId(*context);
  call.method = method;
  call.peer = context->peer();
  call.trace = Continue(MetadataOf(*context, kTraceParentKey));
  context->AddInitialMetadata(kRequestIdKey, call.request_id);
  return call;
}

}  // namespace scalpel::rpc
