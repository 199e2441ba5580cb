#include "server/contract/limits.h"

#include <google/protobuf/message.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace scalpel {
namespace {

const v1::Limits& Defaults() {
  static const auto* limits = [] {
    auto* values = new v1::Limits;
    for (const contract::LimitField& field : contract::LimitFields())
      field.Set(field.facts().default_value(), values);
    return values;
  }();
  return *limits;
}

}  // namespace

Limits::Limits() : values_(Defaults()) {}

namespace contract {
namespace {

using google::protobuf::FieldDescriptor;

bool IsInt32(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_INT32;
}

// What is wrong with the facts; empty: nothing.
std::string Problem(const FieldDescriptor& field, const v1::LimitFacts& facts) {
  if (!field.options().HasExtension(v1::limit))
    return "has no facts; give it the option (scalpel.v1.limit)";
  if (field.is_repeated() ||
      (!IsInt32(field) && field.cpp_type() != FieldDescriptor::CPPTYPE_INT64))
    return "is no int32 or int64";
  if (facts.scope() == v1::LIMIT_SCOPE_UNSPECIFIED) return "has no scope";
  if (facts.help().empty()) return "has no help";
  if (facts.least() > facts.default_value() || facts.default_value() > facts.most())
    return "has a default_value that is not within least and most";
  if (IsInt32(field) && facts.most() > INT32_MAX) return "is an int32, and most is more than that";
  return "";
}

}  // namespace

LimitField::LimitField(const FieldDescriptor* field, v1::LimitFacts facts)
    : field_(field),
      facts_(std::move(facts)),
      flag_(absl::StrReplaceAll(field->name(), {{"_", "-"}})) {}

int64_t LimitField::Get(const v1::Limits& limits) const {
  const auto* reflection = v1::Limits::GetReflection();
  return IsInt32(*field_) ? reflection->GetInt32(limits, field_)
                          : reflection->GetInt64(limits, field_);
}

void LimitField::Set(int64_t value, v1::Limits* limits) const {
  const auto* reflection = v1::Limits::GetReflection();
  if (IsInt32(*field_)) {
    reflection->SetInt32(limits, field_, static_cast<int32_t>(value));
  } else {
    reflection->SetInt64(limits, field_, value);
  }
}

absl::StatusOr<std::vector<LimitField>> ReadLimitFields(
    const google::protobuf::Descriptor& limits) {
  std::vector<LimitField> fields;
  for (int i = 0; i < limits.field_count(); ++i) {
    const FieldDescriptor* field = limits.field(i);
    const v1::LimitFacts& facts = field->options().GetExtension(v1::limit);
    if (const std::string problem = Problem(*field, facts); !problem.empty())
      return absl::InternalError(absl::StrCat(field->full_name(), " ", problem));
    fields.emplace_back(field, facts);
  }
  return fields;
}

absl::Span<const LimitField> LimitFields() {
  static const auto* fields =
      new std::vector<LimitField>(ReadLimitFields(*v1::Limits::descriptor()).value());
  return *fields;
}

}  // namespace contract
}  // namespace scalpel
