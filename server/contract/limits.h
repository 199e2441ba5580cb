// The limits in force, and what is declared of each in proto/scalpel/v1/limits.proto.

#ifndef SCALPEL_SERVER_CONTRACT_LIMITS_H_
#define SCALPEL_SERVER_CONTRACT_LIMITS_H_

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/scalpel/v1/limits.pb.h"
#include "proto/scalpel/v1/options.pb.h"

namespace scalpel {

// The message that GetModel returns, except that a new one has the declared defaults:
// limits->max_queue().
class Limits {
 public:
  Limits();

  const v1::Limits& operator*() const { return values_; }
  v1::Limits& operator*() { return values_; }
  const v1::Limits* operator->() const { return &values_; }
  v1::Limits* operator->() { return &values_; }

 private:
  v1::Limits values_;
};

namespace contract {

// One field of v1::Limits.
class LimitField {
 public:
  LimitField(const google::protobuf::FieldDescriptor* field, v1::LimitFacts facts);

  // The flag that sets it: the field's name with `-` for `_`.
  const std::string& flag() const { return flag_; }
  const v1::LimitFacts& facts() const { return facts_; }
  int64_t Get(const v1::Limits& limits) const;
  void Set(int64_t value, v1::Limits* limits) const;

 private:
  const google::protobuf::FieldDescriptor* field_;
  v1::LimitFacts facts_;
  std::string flag_;
};

// All of them, in the order in which they are declared.
absl::Span<const LimitField> LimitFields();

// Those of a message such as v1::Limits. INTERNAL names a field without facts, or with facts that
// contradict each other.
absl::StatusOr<std::vector<LimitField>> ReadLimitFields(const google::protobuf::Descriptor& limits);

}  // namespace contract
}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONTRACT_LIMITS_H_
