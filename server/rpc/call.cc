#include "server/rpc/call.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cctype>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"

namespace scalpel::rpc {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";
constexpr size_t kRequestIdBytesMax = 64;

// Unique among this server's calls, and likely among those of others.
std::string MakeRequestId() {
  thread_local std::mt19937_64 generator{(uint64_t{std::random_device{}()} << 32) |
                                         std::random_device{}()};
  return absl::StrCat(absl::Hex(generator(), absl::kZeroPad16));
}

std::string RequestId(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(kRequestIdKey);
  if (found != metadata.end()) {
    const absl::string_view id(found->second.data(), found->second.size());
    if (IsRequestId(id)) return std::string(id);
  }
  return MakeRequestId();
}

}  // namespace

bool IsRequestId(absl::string_view id) {
  return !id.empty() && id.size() <= kRequestIdBytesMax &&
         std::all_of(id.begin(), id.end(), [](unsigned char c) {
           return (c < 0x80 && std::isalnum(c)) || c == '.' || c == '_' || c == '-';
         });
}

Call BeginCall(grpc::CallbackServerContext* context, absl::string_view method) {
  Call call{.request_id = RequestId(*context),
            .method = std::string(method),
            .peer = context->peer(),
            .began = absl::Now()};
  context->AddInitialMetadata(kRequestIdKey, call.request_id);
  return call;
}

void LogCall(const Call& call, const grpc::Status& status) {
  const std::string code =
      absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
  spdlog::info(
      "request={} method={} peer={} code={} total_us={} queue_us={} compute_us={} tokens={}",
      call.request_id, call.method, absl::CHexEscape(call.peer), code,
      absl::ToInt64Microseconds(absl::Now() - call.began), call.queue_us, call.compute_us,
      call.tokens);
}

}  // namespace scalpel::rpc
