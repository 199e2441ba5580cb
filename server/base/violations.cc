#include "server/base/violations.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"
#include "server/base/utf8.h"

namespace scalpel {
namespace {

// Both strings may quote the request, which can be long. An error has to be readable and to fit
// into a trailer.
constexpr size_t kFieldBytesMax = 256;
constexpr size_t kDescriptionBytesMax = 512;

}  // namespace

void Violations::Add(absl::string_view field, absl::string_view description) {
  ++count_;
  if (listed_.field_violations_size() >= listed_max_) return;
  google::rpc::BadRequest::FieldViolation* violation = listed_.add_field_violations();
  violation->set_field(Truncated(field, kFieldBytesMax));
  violation->set_description(Truncated(description, kDescriptionBytesMax));
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
  absl::Status status(
      count_ == unmet_ ? absl::StatusCode::kFailedPrecondition : absl::StatusCode::kInvalidArgument,
      message);
  AttachDetail(status, listed_);
  return status;
}

}  // namespace scalpel
