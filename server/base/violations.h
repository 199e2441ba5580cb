// What is wrong with a request, field by field.

#ifndef SCALPEL_SERVER_BASE_VIOLATIONS_H_
#define SCALPEL_SERVER_BASE_VIOLATIONS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/google/rpc/error_details.pb.h"

namespace scalpel {

// Collects what is wrong with a request, by field path. Not thread-safe.
class Violations {
 public:
  // Counts further violations but lists only the first `listed_max`.
  explicit Violations(int listed_max) : listed_max_(listed_max) {}

  // `field`: a path such as `interventions[2].place.where.layers[0]`. `description`: what is wrong
  // and what would be right.
  void Add(absl::string_view field, absl::string_view description);
  // Something that the request may ask for, but not of the model that is served.
  void AddUnmet(absl::string_view field, absl::string_view description);

  // Takes over what `other` lists for fields that are not listed here, with `remark` behind it: of
  // many variants with the same mistake, the first one tells.
  void AddNew(const Violations& other, absl::string_view remark);

  bool empty() const { return count_ == 0; }
  int count() const { return count_; }

  // OK when empty. FAILED_PRECONDITION when all that is wrong is something unmet, else
  // INVALID_ARGUMENT; with a google.rpc.BadRequest payload.
  absl::Status ToStatus() const;

 private:
  const int listed_max_;
  int count_ = 0;
  int unmet_ = 0;
  google::rpc::BadRequest listed_;
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_VIOLATIONS_H_
