// Errors as data: google.rpc details travel inside absl::Status as payloads, so that only the wire
// knows gRPC.

#ifndef SCALPEL_SERVER_SPEC_VIOLATIONS_H_
#define SCALPEL_SERVER_SPEC_VIOLATIONS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "proto/google/rpc/error_details.pb.h"

namespace scalpel::spec {

// Collects what is wrong with a request, by field path. Not thread-safe.
class Violations {
 public:
  // Counts further violations but lists only the first `listed_max`.
  explicit Violations(int listed_max) : listed_max_(listed_max) {}

  // `field`: a path such as `interventions[2].place.where.layers[0]`. `description`: what is wrong
  // and what would be right.
  void Add(absl::string_view field, absl::string_view description);
  // Something that the contract defines and this server does not implement.
  void AddUnimplemented(absl::string_view field, absl::string_view description);
  // Something that the request may ask for, but not of the model that is served.
  void AddUnmet(absl::string_view field, absl::string_view description);

  // Takes over what `other` lists for fields that are not listed here, with `remark` behind it: of
  // many variants with the same mistake, the first one tells.
  void AddNew(const Violations& other, absl::string_view remark);

  bool empty() const { return count_ == 0; }
  int count() const { return count_; }

  // OK when empty. UNIMPLEMENTED or, where something is unmet, FAILED_PRECONDITION when that is all
  // that is wrong, else INVALID_ARGUMENT; with a google.rpc.BadRequest payload.
  absl::Status ToStatus() const;

 private:
  const int listed_max_;
  int count_ = 0;
  int unimplemented_ = 0;
  int unmet_ = 0;
  google::rpc::BadRequest listed_;
};

// Attaches a google.rpc detail under its type URL, `type.googleapis.com/<full name>`.
void AttachDetail(absl::Status& status, const google::protobuf::Message& detail);

// INVALID_ARGUMENT with a single violation.
absl::Status InvalidField(absl::string_view field, absl::string_view description);

// RESOURCE_EXHAUSTED: a later try can succeed.
absl::Status Busy(absl::string_view message, absl::Duration retry_delay);

// RESOURCE_EXHAUSTED: the same request never will.
absl::Status OverLimit(absl::string_view limit, absl::string_view description);

// Notes why a call is refused, in a word for logs and metrics (insight::kReasons). It stays in the
// server. The first note counts; OK is returned as it is.
absl::Status Because(absl::string_view reason, absl::Status status);
// The word; empty: none was noted.
std::string ReasonOf(const absl::Status& status);
// The payload that holds it.
inline constexpr absl::string_view kReasonPayload = "scalpel/reason";

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_VIOLATIONS_H_
