#include "server/contract/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/config/config.h"
#include "server/config/settings.h"
#include "server/rpc/describe.h"
#include "tests/unit/contract/declared.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::contract {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// What is read of the limits after `change` has changed the second field, max_request_fields.
template <typename Change>
absl::Status StatusAfter(Change change) {
  const Declared declared(v1::Limits::descriptor()->file(), [&](auto* file) {
    auto* field = file->mutable_message_type(0)->mutable_field(1);
    EXPECT_EQ(field->name(), "max_request_fields");
    change(field);
  });
  return ReadLimitFields(*declared->message_type(0)).status();
}

absl::Status StatusWith(v1::LimitFacts facts) {
  return StatusAfter(
      [&](auto* field) { *field->mutable_options()->MutableExtension(v1::limit) = facts; });
}

v1::LimitFacts Facts() {
  v1::LimitFacts facts;
  facts.set_scope(v1::LIMIT_SCOPE_REQUEST);
  facts.set_help("fields");
  facts.set_least(1);
  facts.set_default_value(5);
  facts.set_most(9);
  return facts;
}

TEST(LimitFields, AreAllOfTheDeclaration) {
  EXPECT_THAT(LimitFields(), SizeIs(v1::Limits::descriptor()->field_count()));
}

TEST(LimitFields, AForgottenOneIsNamed) {
  EXPECT_TRUE(StatusAfter([](auto*) {}).ok());
  const absl::Status status = StatusAfter([](auto* field) { field->clear_options(); });
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_EQ(status.message(),
            "scalpel.v1.Limits.max_request_fields has no facts; give it the option "
            "(scalpel.v1.limit)");
}

TEST(LimitFields, FactsThatContradictEachOtherAreNamed) {
  EXPECT_TRUE(StatusWith(Facts()).ok());
  v1::LimitFacts facts = Facts();
  facts.clear_scope();
  EXPECT_THAT(std::string(StatusWith(facts).message()), HasSubstr("has no scope"));
  facts = Facts();
  facts.clear_help();
  EXPECT_THAT(std::string(StatusWith(facts).message()), HasSubstr("has no help"));
  facts = Facts();
  facts.set_most(4);
  EXPECT_THAT(std::string(StatusWith(facts).message()), HasSubstr("not within least and most"));
  facts = Facts();
  facts.set_least(6);
  EXPECT_THAT(std::string(StatusWith(facts).message()), HasSubstr("not within least and most"));
  const absl::Status narrow = StatusAfter([](auto* field) {
    field->set_type(google::protobuf::FieldDescriptorProto::TYPE_INT32);
    field->mutable_options()->MutableExtension(v1::limit)->set_most(int64_t{1} << 31);
  });
  EXPECT_THAT(std::string(narrow.message()), HasSubstr("is an int32"));
  const absl::Status text = StatusAfter(
      [](auto* field) { field->set_type(google::protobuf::FieldDescriptorProto::TYPE_STRING); });
  EXPECT_THAT(std::string(text.message()), HasSubstr("is no int32 or int64"));
}

TEST(Limits, BeginWithTheDefaults) {
  for (const LimitField& limit : LimitFields())
    EXPECT_EQ(limit.Get(*Limits()), limit.facts().default_value()) << limit.flag();
  EXPECT_EQ(Limits()->max_queue(), 64);
  EXPECT_EQ(Limits()->max_response_bytes(), int64_t{1} << 30);
}

// Each flag sets its own field and no other, and GetModel tells each one.
TEST(Limits, GoFromTheFlagToGetModel) {
  Config config;
  int64_t value = 3 << 19;  // within all bounds, a multiple of no default
  for (const LimitField& limit : LimitFields()) {
    const Setting* setting = FindSetting(limit.flag());
    ASSERT_NE(setting, nullptr) << limit.flag();
    const int64_t least = limit.facts().least(), most = limit.facts().most();
    const int64_t set = std::min(most, ++value);
    EXPECT_EQ(setting->set(absl::StrCat(set), &config), "") << limit.flag();
    EXPECT_EQ(limit.Get(*config.limits), set) << limit.flag();
    EXPECT_NE(setting->set(absl::StrCat(most + 1), &config), "") << limit.flag();
    EXPECT_NE(setting->set(absl::StrCat(least - 1), &config), "") << limit.flag();
    EXPECT_EQ(limit.Get(*config.limits), set) << limit.flag();
  }
  const spec::ModelFacts& facts = test::TinyFacts();
  const rpc::Backend backend{facts, "cpu", "avx2", 1, nullptr};
  const v1::Limits told = rpc::DescribeModel(backend, config.limits).limits();
  for (const LimitField& limit : LimitFields())
    EXPECT_EQ(limit.Get(told), limit.Get(*config.limits)) << limit.flag();
}

}  // namespace
}  // namespace scalpel::contract
