// Collects the violations of an invalid request.

#ifndef SCALPEL_SERVER_BASE_VIOLATIONS_H_
#define SCALPEL_SERVER_BASE_VIOLATIONS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/google/rpc/error_details.pb.h"

namespace scalpel {

// The violations of one request, by field path. Not thread-safe.
class Violations {
 public:
  // Lists the first `listed_max` violations, and only counts those after them.
  explicit Violations(int listed_max) : listed_max_(listed_max) {}

  // Adds a violation. `field`: a path such as `interventions[2].place.where.layers[0]`.
  // `description`: what is wrong and what would be valid. Both are shortened if they are long.
  void Add(absl::string_view field, absl::string_view description);
  // Something that the request may ask for, but not of the model that is served.
  void AddUnmet(absl::string_view field, absl::string_view description);

  // Adds the violations listed in `other` for fields that are not listed here yet, and appends
  // `remark` to their descriptions. So a mistake that many variants of a sweep share is reported
  // once.
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
