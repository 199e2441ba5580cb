#include "server/spec/violations.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace scalpel::spec {
namespace {

// Both quote the request, which may be long; an error is read by people and has to fit into a
// trailer.
constexpr size_t kFieldBytesMax = 256;
constexpr size_t kDescriptionBytesMax = 512;

// The text, or its beginning with an ellipsis. Never cuts a UTF-8 character.
std::string Shortened(absl::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), "…");
}

}  // namespace

void Violations::Add(absl::string_view field, absl::string_view description) {
  ++count_;
  if (listed_.field_violations_size() >= listed_max_) return;
  google::rpc::BadRequest::FieldViolation* violation = listed_.add_field_violations();
  violation->set_field(Shortened(field, kFieldBytesMax));
  violation->set_description(Shortened(description, kDescriptionBytesMax));
}

void Violations::AddUnimplemented(absl::string_view field, absl::string_view description) {
  ++unimplemented_;
  Add(field, description);
}

void Violations::AddUnmet(absl::string_view field, absl::string_view description) {
  ++unmet_;
  Add(field, description);
}

void Violations::AddNew(const Violations& other, absl::string_view remark) {
  const int before = listed_.field_violations_size();
  for (const auto& violation : other.listed_.field_violations()) {
    const auto& listed = listed_.field_violations();
    if (std::any_of(listed.begin(), listed.begin() + before,
                    [&](const auto& seen) { return seen.field() == violation.field(); }))
      continue;
    if (other.count_ == other.unimplemented_) ++unimplemented_;
    if (other.count_ == other.unmet_) ++unmet_;
    Add(violation.field(), absl::StrCat(violation.description(), remark));
  }
}

absl::Status Violations::ToStatus() const {
  if (empty()) return absl::OkStatus();
  std::string message = "the request is invalid";
  if (listed_.field_violations_size() > 0) {
    const auto& first = listed_.field_violations(0);
    message = absl::StrCat(first.field(), ": ", first.description());
  }
  if (count_ > 1) absl::StrAppend(&message, " (and ", count_ - 1, " more, see the details)");
  absl::Status status(count_ == unimplemented_ ? absl::StatusCode::kUnimplemented
                      : count_ == unmet_       ? absl::StatusCode::kFailedPrecondition
                                               : absl::StatusCode::kInvalidArgument,
                      message);
  AttachDetail(status, listed_);
  return status;
}

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
  return Because("response_too_large", std::move(status));  // or the memory that it would take
}

absl::Status Because(absl::string_view reason, absl::Status status) {
  if (ReasonOf(status).empty()) status.SetPayload(kReasonPayload, absl::Cord(reason));
  return status;
}

std::string ReasonOf(const absl::Status& status) {
  const auto reason = status.GetPayload(kReasonPayload);
  return reason ? std::string(*reason) : "";
}

}  // namespace scalpel::spec
