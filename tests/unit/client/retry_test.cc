#include "client/cpp/retry.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"

namespace scalpel::client {
namespace {

using Code = grpc::StatusCode;

grpc::Status Full(absl::Duration delay) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(delay));
  info.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(delay % absl::Seconds(1))));
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  return {Code::RESOURCE_EXHAUSTED, "the queue is full", details.SerializeAsString()};
}

TEST(ClientRetry, MatchesTheSharedPolicy) {
  std::ifstream file("client/retry-policy.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  google::protobuf::Struct json;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(text, &json).ok()) << text;
  const auto& method = json.fields().at("methodConfig").list_value().values(0).struct_value();
  const auto& policy = method.fields().at("retryPolicy").struct_value().fields();
  EXPECT_EQ(policy.at("maxAttempts").number_value(), kAttempts);
  EXPECT_EQ(policy.at("initialBackoff").string_value(), absl::StrCat(kFirstPauseSeconds, "s"));
  EXPECT_EQ(policy.at("backoffMultiplier").number_value(), kPauseFactor);
  EXPECT_EQ(policy.at("maxBackoff").string_value(), absl::StrCat(kLongestPauseSeconds, "s"));
}

TEST(ClientRetry, PausesLongerEachTime) {
  const grpc::Status status(Code::UNAVAILABLE, "");
  double expected = kFirstPauseSeconds;
  for (int attempt = 1; attempt < kAttempts; ++attempt) {
    const auto pause = PauseAfter(status, attempt, absl::InfiniteDuration());
    ASSERT_TRUE(pause);
    EXPECT_LE(*pause, absl::Seconds(expected));
    EXPECT_GE(*pause, absl::Seconds(expected / 2));
    expected *= kPauseFactor;
  }
  EXPECT_FALSE(PauseAfter(status, kAttempts, absl::InfiniteDuration()));
}

TEST(ClientRetry, WaitsAsLongAsTheServerSays) {
  const auto pause = PauseAfter(Full(absl::Milliseconds(2500)), 1, absl::InfiniteDuration());
  ASSERT_TRUE(pause);
  EXPECT_EQ(*pause, absl::Milliseconds(2500));
  const auto at_once = PauseAfter(Full(absl::ZeroDuration()), 1, absl::InfiniteDuration());
  ASSERT_TRUE(at_once);
  EXPECT_GE(*at_once, absl::Seconds(kFirstPauseSeconds / 2));
}

TEST(ClientRetry, GivesUpIfARetryCannotHelp) {
  for (const Code code :
       {Code::OK, Code::CANCELLED, Code::INVALID_ARGUMENT, Code::INTERNAL, Code::DEADLINE_EXCEEDED,
        Code::UNAUTHENTICATED, Code::PERMISSION_DENIED, Code::RESOURCE_EXHAUSTED}) {
    EXPECT_FALSE(PauseAfter({code, ""}, 1, absl::InfiniteDuration())) << code;
  }
  EXPECT_FALSE(PauseAfter(Full(absl::Seconds(60)), 1, absl::Seconds(59)));
  EXPECT_FALSE(PauseAfter({Code::UNAVAILABLE, ""}, 1, absl::ZeroDuration()));
}

}  // namespace
}  // namespace scalpel::client
