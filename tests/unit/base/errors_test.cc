#include "server/base/errors.h"

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>

#include "proto/google/rpc/error_details.pb.h"
#include "tests/unit/support/detail.h"

namespace scalpel {
namespace {

using test::DetailOf;

TEST(Busy, HasARetryDelay) {
  const absl::Status status = Busy("the queue is full", absl::Milliseconds(1500));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  const auto info = DetailOf<google::rpc::RetryInfo>(status);
  EXPECT_EQ(info.retry_delay().seconds(), 1);
  EXPECT_EQ(info.retry_delay().nanos(), 500'000'000);
}

TEST(OverLimit, NamesTheLimitWithoutARetryDelay) {
  const absl::Status status = OverLimit("limits.max_response_bytes", "7 bytes, at most 6");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  const auto failure = DetailOf<google::rpc::QuotaFailure>(status);
  ASSERT_EQ(failure.violations_size(), 1);
  EXPECT_EQ(failure.violations(0).subject(), "limits.max_response_bytes");
  EXPECT_EQ(failure.violations(0).description(), "7 bytes, at most 6");
  EXPECT_FALSE(status.GetPayload("type.googleapis.com/google.rpc.RetryInfo").has_value());
}

TEST(WithReason, KeepsTheFirstReason) {
  const absl::Status status =
      WithReason(Reason::kInvalid, WithReason(Reason::kQueueFull, Busy("later", absl::Seconds(1))));
  EXPECT_EQ(ReasonOf(status), Reason::kQueueFull);
  EXPECT_EQ(ReasonOf(OverLimit("limits.max_response_bytes", "7 bytes")), Reason::kResponseTooLarge);
  EXPECT_EQ(ReasonOf(InvalidField("text", "is not UTF-8")), std::nullopt);
  EXPECT_TRUE(WithReason(Reason::kInvalid, absl::OkStatus()).ok());
  EXPECT_EQ(ReasonOf(WithReason(Reason::kInvalid, absl::OkStatus())), std::nullopt);
}

TEST(InvalidField, IsOneViolation) {
  const absl::Status status = InvalidField("text", "is not UTF-8");
  EXPECT_EQ(status.message(), "text: is not UTF-8");
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(status).field_violations(0).field(), "text");
}

TEST(Reason, EachHasADistinctWord) {
  std::set<absl::string_view> words;
  for (const Reason reason : AllReasons()) {
    words.insert(ReasonWord(reason));
    EXPECT_EQ(ReasonOf(WithReason(reason, absl::UnavailableError("draining"))), reason);
  }
  EXPECT_EQ(words.size(), AllReasons().size());
}

}  // namespace
}  // namespace scalpel
