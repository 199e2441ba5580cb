#include "server/base/violations.h"

#include <gtest/gtest.h>

#include <string>

#include "proto/google/rpc/error_details.pb.h"
#include "tests/unit/support/detail.h"

namespace scalpel {
namespace {

using test::DetailOf;

TEST(Violations, NoneIsOk) { EXPECT_TRUE(Violations(5).ToStatus().ok()); }

TEST(Violations, ListsAllByPathAndQuotesTheFirst) {
  Violations violations(5);
  violations.Add("probes[1].place", "is required");
  violations.Add("seed", "is odd");
  const absl::Status status = violations.ToStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "probes[1].place: is required (and 1 more, see the details)");
  const auto request = DetailOf<google::rpc::BadRequest>(status);
  ASSERT_EQ(request.field_violations_size(), 2);
  EXPECT_EQ(request.field_violations(1).field(), "seed");
  EXPECT_EQ(request.field_violations(1).description(), "is odd");
}

TEST(Violations, CountsBeyondTheListedOnes) {
  Violations violations(2);
  for (int i = 0; i < 7; ++i) violations.Add("a", "b");
  EXPECT_EQ(violations.count(), 7);
  EXPECT_EQ(violations.ToStatus().message(), "a: b (and 6 more, see the details)");
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(violations.ToStatus()).field_violations_size(), 2);
}

TEST(Violations, UnmetOnlyWhenNothingElseIsWrong) {
  Violations violations(5);
  violations.AddUnmet("prompts[0].text", "no tokenizer");
  violations.AddUnmet("prompts[1].text", "no tokenizer");
  EXPECT_EQ(violations.ToStatus().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(violations.ToStatus()).field_violations_size(), 2);
  Violations taken(5);
  taken.AddNew(violations, " (in variant 0)");
  EXPECT_EQ(taken.ToStatus().code(), absl::StatusCode::kFailedPrecondition);
  violations.Add("seed", "is odd");
  EXPECT_EQ(violations.ToStatus().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(violations.ToStatus()).field_violations_size(), 3);
}

TEST(Violations, LongTextsAreCutBetweenCharacters) {
  Violations violations(1);
  std::string text = "x";
  for (int i = 0; i < 1000; ++i) text += "é";
  violations.Add(text, text);
  const auto listed = DetailOf<google::rpc::BadRequest>(violations.ToStatus()).field_violations(0);
  EXPECT_LT(listed.field().size(), 300u);
  EXPECT_LT(listed.description().size(), 600u);
  EXPECT_EQ(listed.field().substr(listed.field().size() - 5), "é…");
}

TEST(Violations, AddNewSkipsKnownFields) {
  Violations all(3), one(3), two(3);
  one.Add("a", "is wrong");
  two.Add("a", "is wrong too");
  two.Add("b", "is missing");
  all.AddNew(one, " (in the first)");
  all.AddNew(two, " (in the second)");
  EXPECT_EQ(all.count(), 2);
  const auto bad = DetailOf<google::rpc::BadRequest>(all.ToStatus());
  EXPECT_EQ(bad.field_violations(0).description(), "is wrong (in the first)");
  EXPECT_EQ(bad.field_violations(1).field(), "b");
}

TEST(Violations, StayUnmetWhenTakenOver) {
  Violations all(3), one(3), two(3);
  one.AddUnmet("a", "no tokenizer");
  all.AddNew(one, "");
  EXPECT_TRUE(absl::IsFailedPrecondition(all.ToStatus()));
  two.Add("b", "is wrong");
  all.AddNew(two, "");
  EXPECT_TRUE(absl::IsInvalidArgument(all.ToStatus()));
}

}  // namespace
}  // namespace scalpel
