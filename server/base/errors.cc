#include "server/base/errors.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/base/violations.h"

namespace scalpel {

void AttachDetail(absl::Status& status, const google::protobuf::Message& detail) {
  status.SetPayload(absl::StrCat("type.googleapis.com/", detail.GetTypeName()),
                    absl::Cord(detail.SerializeAsString()));
}

absl::Status InvalidField(absl::string_view field, absl::string_view description) {
  Violations violations(1);
  violations.Add(field, description);
  return violations.ToStatus();
}

absl::Status Busy(absl::string_view message, absl::Duration retry_delay) {
  absl::Status status = absl::ResourceExhaustedError(message);
  google::rpc::RetryInfo info;
  const int64_t nanoseconds = std::max<int64_t>(0, absl::ToInt64Nanoseconds(retry_delay));
  info.mutable_retry_delay()->set_seconds(nanoseconds / 1'000'000'000);
  info.mutable_retry_delay()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  AttachDetail(status, info);
  return status;
}

absl::Status OverLimit(absl::string_view limit, absl::string_view description) {
  absl::Status status = absl::ResourceExhaustedError(absl::StrCat(limit, ": ", description));
  google::rpc::QuotaFailure failure;
  google::rpc::QuotaFailure::Violation* violation = failure.add_violations();
  violation->set_subject(std::string(limit));
  violation->set_description(std::string(description));
  AttachDetail(status, failure);
  return WithReason(Reason::kResponseTooLarge, std::move(status));
}

absl::Span<const Reason> AllReasons() {
  static constexpr Reason kAll[] = {
      Reason::kQueueFull,       Reason::kBufferedBytes, Reason::kKvBytes,
      Reason::kCallerCalls,     Reason::kCallerRate,    Reason::kCallsMax,
      Reason::kUnauthenticated, Reason::kPermission,    Reason::kResponseTooLarge,
      Reason::kOutOfMemory,     Reason::kUnavailable,   Reason::kInvalid};
  return kAll;
}

absl::string_view ReasonWord(Reason reason) {
  switch (reason) {
    case Reason::kQueueFull:
      return "queue_full";
    case Reason::kBufferedBytes:
      return "buffered_bytes";
    case Reason::kKvBytes:
      return "kv_bytes";
    case Reason::kCallerCalls:
      return "caller_calls";
    case Reason::kCallerRate:
      return "caller_rate";
    case Reason::kCallsMax:
      return "calls_max";
    case Reason::kUnauthenticated:
      return "unauthenticated";
    case Reason::kPermission:
      return "permission";
    case Reason::kResponseTooLarge:
      return "response_too_large";
    case Reason::kOutOfMemory:
      return "out_of_memory";
    case Reason::kUnavailable:
      return "unavailable";
    case Reason::kInvalid:
      return "invalid";
  }
  return "";
}

absl::Status WithReason(Reason reason, absl::Status status) {
  if (!ReasonOf(status)) status.SetPayload(kReasonPayload, absl::Cord(ReasonWord(reason)));
  return status;
}

std::optional<Reason> ReasonOf(const absl::Status& status) {
  const auto word = status.GetPayload(kReasonPayload);
  if (!word) return std::nullopt;
  for (const Reason reason : AllReasons()) {
    if (*word == ReasonWord(reason)) return reason;
  }
  return std::nullopt;
}

}  // namespace scalpel
