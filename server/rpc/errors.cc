#include "server/rpc/errors.h"

#include <spdlog/spdlog.h>

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "server/base/utf8.h"

namespace scalpel::rpc {
namespace {

// Many clients accept at most 8 KiB of headers. The details repeat the message and are sent in
// base64, which adds a third. The message is percent-encoded, which can triple it.
constexpr size_t kMessageBytesMax = 512;
constexpr size_t kDetailsBytesMax = 4500;

// Drops the last violations of a BadRequest until all details fit.
void FitDetails(google::rpc::Status& status) {
  for (google::protobuf::Any& detail : *status.mutable_details()) {
    google::rpc::BadRequest request;
    if (!detail.UnpackTo(&request)) continue;
    while (status.ByteSizeLong() > kDetailsBytesMax && request.field_violations_size() > 1) {
      request.mutable_field_violations()->RemoveLast();
      (void)detail.PackFrom(request);
    }
  }
  if (status.ByteSizeLong() > kDetailsBytesMax) status.clear_details();
}

std::string Details(const absl::Status& status, absl::string_view message,
                    absl::string_view request_id) {
  google::rpc::Status wire;
  wire.set_code(static_cast<int>(status.code()));
  wire.set_message(std::string(message));
  status.ForEachPayload([&wire](absl::string_view type_url, const absl::Cord& value) {
    if (type_url == kReasonPayload) return;
    google::protobuf::Any* detail = wire.add_details();
    detail->set_type_url(std::string(type_url));
    detail->set_value(std::string(value));
  });
  google::rpc::RequestInfo info;
  info.set_request_id(std::string(request_id));
  (void)wire.add_details()->PackFrom(info);
  FitDetails(wire);
  return wire.SerializeAsString();
}

}  // namespace

absl::StatusCode WireCode(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnknown ? absl::StatusCode::kInternal : status.code();
}

grpc::Status ToGrpc(const absl::Status& status, absl::string_view request_id) {
  if (status.ok()) return grpc::Status::OK;
  std::string message = Truncated(status.message(), kMessageBytesMax);
  if (WireCode(status) == absl::StatusCode::kInternal) {
    spdlog::error("request={} internal error: {}", std::string(request_id),
                  absl::CHexEscape(status.message()));
    message =
        absl::StrCat("internal error; the server's log has details under request id ", request_id);
    const absl::Status bare(absl::StatusCode::kInternal, message);
    return grpc::Status(grpc::StatusCode::INTERNAL, message, Details(bare, message, request_id));
  }
  // Both enums use the numbers of google.rpc.Code.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      Details(status, message, request_id));
}

}  // namespace scalpel::rpc
