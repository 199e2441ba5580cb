#include "server/base/limit_fields.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/config/config.h"
#include "server/config/settings.h"
#include "server/rpc/describe.h"
#include "tests/unit/support/tiny.h"

namespace scalpel {
namespace {

struct Anything {
  template <typename T>
  operator T() const;  // NOLINT: for braces that are never evaluated
};

template <typename T, size_t... kIndex>
constexpr bool HasFields(std::index_sequence<kIndex...>) {
  return requires { T{(static_cast<void>(kIndex), Anything())...}; };
}

// How many fields an aggregate has: as many as braces may initialise.
template <typename T, size_t kCount = 0>
constexpr size_t FieldCount() {
  if constexpr (HasFields<T>(std::make_index_sequence<kCount + 1>())) {
    return FieldCount<T, kCount + 1>();
  } else {
    return kCount;
  }
}

struct Three {
  int a = 1;
  int64_t b = 2;
  int32_t c;
};
static_assert(FieldCount<Three>() == 3);

int64_t ValueOf(const LimitField& field, const Limits& limits) {
  return std::visit([&](auto member) -> int64_t { return limits.*member; }, field.member);
}

std::string ContractName(const LimitField& field) {
  return absl::StrReplaceAll(field.name, {{"-", "_"}});
}

// With as many members as there are fields, and no member twice, none is missing.
TEST(LimitFields, AreAllOfLimits) {
  EXPECT_EQ(std::size(kLimitFields), FieldCount<Limits>())
      << "a field of Limits has no flag: add it to kLimitFields, and to Limits of service.proto";
  for (size_t i = 0; i < std::size(kLimitFields); ++i) {
    for (size_t j = 0; j < i; ++j) {
      EXPECT_FALSE(kLimitFields[i].member == kLimitFields[j].member)
          << kLimitFields[i].name << " and " << kLimitFields[j].name;
    }
  }
}

TEST(LimitFields, AreAllOfTheContract) {
  const google::protobuf::Descriptor* contract = v1::Limits::descriptor();
  EXPECT_EQ(contract->field_count(), static_cast<int>(std::size(kLimitFields)));
  for (const LimitField& limit : kLimitFields) {
    const auto* field = contract->FindFieldByName(ContractName(limit));
    ASSERT_NE(field, nullptr) << limit.name;
    EXPECT_EQ(field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_INT32,
              std::holds_alternative<int32_t Limits::*>(limit.member))
        << limit.name;
  }
}

TEST(LimitFields, DefaultsAreWithinTheirBounds) {
  for (const LimitField& limit : kLimitFields) {
    EXPECT_LE(limit.least, ValueOf(limit, Limits())) << limit.name;
    EXPECT_GE(limit.most, ValueOf(limit, Limits())) << limit.name;
    if (std::holds_alternative<int32_t Limits::*>(limit.member)) {
      EXPECT_LE(limit.most, INT32_MAX) << limit.name;
    }
  }
}

// Each flag sets its own field and no other, and GetModel tells each one.
TEST(LimitFields, GoFromTheFlagToGetModel) {
  Config config;
  int64_t value = 3 << 19;  // within all bounds, a multiple of no default
  for (const LimitField& limit : kLimitFields) {
    const Setting* setting = FindSetting(limit.name);
    ASSERT_NE(setting, nullptr) << limit.name;
    const int64_t set = std::min(limit.most, ++value);
    EXPECT_EQ(setting->set(absl::StrCat(set), &config), "") << limit.name;
    EXPECT_EQ(ValueOf(limit, config.limits), set) << limit.name;
    EXPECT_NE(setting->set(absl::StrCat(limit.most + 1), &config), "") << limit.name;
    EXPECT_NE(setting->set(absl::StrCat(limit.least - 1), &config), "") << limit.name;
    EXPECT_EQ(ValueOf(limit, config.limits), set) << limit.name;
  }
  const spec::ModelFacts& facts = test::TinyFacts();
  const rpc::Backend backend{facts, "cpu", "avx2", 1, nullptr};
  const v1::Limits told = rpc::DescribeModel(backend, config.limits).limits();
  for (const LimitField& limit : kLimitFields) {
    const auto* field = v1::Limits::descriptor()->FindFieldByName(ContractName(limit));
    const auto* reflection = v1::Limits::GetReflection();
    EXPECT_EQ(field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_INT32
                  ? reflection->GetInt32(told, field)
                  : reflection->GetInt64(told, field),
              ValueOf(limit, config.limits))
        << limit.name;
  }
}

}  // namespace
}  // namespace scalpel
