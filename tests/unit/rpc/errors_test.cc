#include "server/rpc/errors.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "server/base/violations.h"

namespace scalpel::rpc {
namespace {

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), status.error_code());
  EXPECT_EQ(details.message(), status.error_message());
  return details;
}

template <typename Detail>
bool Find(const google::rpc::Status& status, Detail* found) {
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(found)) return true;
  }
  return false;
}

TEST(ToGrpc, OkHasNoDetails) {
  const grpc::Status status = ToGrpc(absl::OkStatus(), "id");
  EXPECT_TRUE(status.ok());
  EXPECT_TRUE(status.error_details().empty());
}

TEST(ToGrpc, EveryOtherCodeKeepsNumberAndMessage) {
  for (int code = 1; code <= 16; ++code) {
    const auto kind = static_cast<absl::StatusCode>(code);
    if (kind == absl::StatusCode::kInternal || kind == absl::StatusCode::kUnknown) continue;
    const grpc::Status status = ToGrpc(absl::Status(kind, "what is wrong"), "id");
    EXPECT_EQ(status.error_code(), code);
    EXPECT_EQ(status.error_message(), "what is wrong");
    google::rpc::RequestInfo info;
    ASSERT_TRUE(Find(Details(status), &info));
    EXPECT_EQ(info.request_id(), "id");
  }
}

TEST(ToGrpc, PayloadsBecomeDetails) {
  google::rpc::BadRequest request;
  ASSERT_TRUE(Find(Details(ToGrpc(InvalidField("seed", "is odd"), "id")), &request));
  EXPECT_EQ(request.field_violations(0).field(), "seed");
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(Find(Details(ToGrpc(Busy("later", absl::Seconds(2)), "id")), &retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 2);
  google::rpc::QuotaFailure quota;
  ASSERT_TRUE(Find(Details(ToGrpc(OverLimit("limit", "too much"), "id")), &quota));
  EXPECT_EQ(quota.violations(0).subject(), "limit");
}

TEST(ToGrpc, InternalSaysTheRequestIdAndNothingElse) {
  for (const auto code : {absl::StatusCode::kInternal, absl::StatusCode::kUnknown}) {
    const grpc::Status status = ToGrpc(absl::Status(code, "/usr/lib/x.so at 0x7f"), "my-id");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
    EXPECT_NE(status.error_message().find("my-id"), std::string::npos);
    EXPECT_EQ(status.error_message().find(".so"), std::string::npos);
    EXPECT_EQ(status.error_details().find(".so"), std::string::npos);
  }
}

TEST(ToGrpc, FitsIntoATrailerAndKeepsTheFirstViolations) {
  Violations violations(50);
  for (int i = 0; i < 50; ++i) {
    violations.Add(absl::StrCat("interventions[", i, "].place.path"), std::string(400, 'x'));
  }
  const grpc::Status status = ToGrpc(violations.ToStatus(), "id");
  // Base64 for the details, up to three bytes for one of the message.
  EXPECT_LT(status.error_details().size() * 4 / 3 + status.error_message().size() * 3, 8000u);
  google::rpc::BadRequest request;
  ASSERT_TRUE(Find(Details(status), &request));
  EXPECT_GT(request.field_violations_size(), 5);
  EXPECT_EQ(request.field_violations(0).field(), "interventions[0].place.path");
}

TEST(ToGrpc, LongMessagesAreCutBetweenCharacters) {
  std::string text = "x";
  for (int i = 0; i < 1000; ++i) text += "é";
  const grpc::Status status = ToGrpc(absl::NotFoundError(text), "id");
  EXPECT_LT(status.error_message().size(), 600u);
  EXPECT_EQ(status.error_message().substr(status.error_message().size() - 5), "é…");
}

TEST(Guarded, ReturnsWhatTheBodyReturns) {
  EXPECT_TRUE(Guarded([] { return absl::OkStatus(); }).ok());
  EXPECT_TRUE(absl::IsNotFound(Guarded([] { return absl::NotFoundError(""); })));
}

TEST(Guarded, TurnsExceptionsIntoStatuses) {
  EXPECT_TRUE(absl::IsInternal(Guarded([]() -> absl::Status { throw std::runtime_error("x"); })));
  EXPECT_TRUE(absl::IsInternal(Guarded([]() -> absl::Status { throw 7; })));
  EXPECT_TRUE(absl::IsResourceExhausted(Guarded([]() -> absl::Status { throw std::bad_alloc(); })));
}

}  // namespace
}  // namespace scalpel::rpc
