// Which calls may begin and what is counted of them, over a real gRPC server and client.

#include "server/rpc/calls.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "proto/grpc/reflection/v1/reflection.grpc.pb.h"
#include "server/base/errors.h"
#include "server/contract/methods.h"
#include "server/rpc/listener.h"
#include "server/rpc/service.h"
#include "tests/unit/rpc/calls_fixture.h"

namespace scalpel::rpc {
namespace {

using testing::HasSubstr;
using testing::Not;

bool HasARetryDelay(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return false;
  for (const auto& detail : details.details()) {
    if (detail.Is<google::rpc::RetryInfo>()) return true;
  }
  return false;
}

// ---- who may call -------------------------------------------------------------------------------

TEST_F(CallsTest, NoCallPassesWithoutAToken) {
  Start(WithTokens());
  EXPECT_EQ(GetModel().error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Run(Tokens(1)).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(GetModel("scalpel_wrong_0123456789abcdef0123456").error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(GetModel(kReader).ok());
  EXPECT_EQ(Rejections("unauthenticated"), 3);
}

TEST_F(CallsTest, EachMethodNeedsItsRole) {
  Start(WithTokens());
  EXPECT_EQ(Run(Tokens(1), kReader).error_code(), grpc::StatusCode::PERMISSION_DENIED);
  grpc::ClientContext context;
  Show(kRunner, &context);
  v1::GetStatusResponse status;
  EXPECT_EQ(stub_->GetStatus(&context, {}, &status).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(GetStatus(kOperator).state(), v1::SERVER_STATE_SERVING);
  EXPECT_EQ(Rejections("permission"), 2);
}

// ---- how many at once ---------------------------------------------------------------------------

TEST_F(CallsTest, ACallersCallsAreBounded) {
  Start(WithTokens());
  auto held = Hold(kRunner);
  const grpc::Status second = GetModel(kRunner);
  EXPECT_EQ(second.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(HasARetryDelay(second));
  EXPECT_TRUE(GetModel(kReader).ok()) << "another caller's";
  held.reset();
  EXPECT_EQ(Rejections("caller_calls"), 1);
  EXPECT_TRUE(GetModel(kRunner).ok()) << "its share was given back";
}

TEST_F(CallsTest, AnEndedReflectionCallFreesItsPlace) {
  Start(WithTokens());
  const auto reflection = grpc::reflection::v1::ServerReflection::NewStub(channel_);
  for (int i = 0; i < 200; ++i) {
    grpc::ClientContext context;
    Show(kRunner, &context);
    const auto stream = reflection->ServerReflectionInfo(&context);
    stream->WritesDone();
    ASSERT_TRUE(stream->Finish().ok());
    ASSERT_TRUE(GetModel(kRunner).ok()) << i;
  }
}

TEST_F(CallsTest, AllCallsExceptGetStatusAreBounded) {
  Limits limits;
  limits->set_max_calls(1);
  Start(access::Policy(), limits);
  auto held = Hold();
  const grpc::Status refused = GetModel();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("(1)"));
  EXPECT_TRUE(HasARetryDelay(refused));
  const v1::GetStatusResponse status = GetStatus();
  ASSERT_EQ(status.callers_size(), 1);
  EXPECT_EQ(status.callers(0).name(), "anonymous");
  EXPECT_EQ(status.callers(0).calls(), 2);  // the held one and this
  held.reset();
  EXPECT_EQ(Rejections("calls_max"), 1);
  EXPECT_TRUE(GetModel().ok());
}

TEST_F(CallsTest, TokensAreChargedButNotForValidation) {
  submit_ = [](auto job) {
    job->stream().Close(absl::OkStatus());
    return absl::OkStatus();
  };
  Start(WithTokens());
  v1::RunRequest only_checked = Tokens(16);
  only_checked.set_validate_only(true);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Run(only_checked, kRunner).ok());
  EXPECT_TRUE(Run(Tokens(16), kRunner).ok());  // into debt: ten seconds' worth are there
  EXPECT_EQ(Rejections("caller_rate"), 0);
  const grpc::Status broke = Run(Tokens(1), kRunner);
  EXPECT_EQ(broke.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(HasARetryDelay(broke));
  EXPECT_EQ(Rejections("caller_rate"), 1);
}

TEST_F(CallsTest, NothingIsCompiledForAnEngineThatTakesNoMore) {
  submit_ = [](auto) { return absl::InternalError("it was to be asked before"); };
  admission_ = WithReason(Reason::kQueueFull, Busy("the queue is full", absl::Seconds(1)));
  Start(WithTokens());
  v1::RunRequest wrong;  // it has no prompts, but that is found by compiling it
  const grpc::Status refused = Run(wrong, kOperator);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(HasARetryDelay(refused));
  EXPECT_EQ(Rejections("queue_full"), 1);
  wrong.set_validate_only(true);  // for which no engine is needed
  EXPECT_EQ(Run(wrong, kOperator).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(CallsTest, TokensOfACallThatTheEngineRefusesAreGivenBack) {
  submit_ = [](auto) { return Busy("the queue is full", absl::Seconds(1)); };
  Start(WithTokens());
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(Run(Tokens(16), kRunner).error_message(), HasSubstr("the queue is full"));
  }
  EXPECT_EQ(Rejections("caller_rate"), 0);
}

// ---- what is counted ----------------------------------------------------------------------------

TEST_F(CallsTest, ReasonsComeFromWhereTheyArise) {
  submit_ = [](auto) {
    return WithReason(Reason::kQueueFull, Busy("the queue is full", absl::Seconds(1)));
  };
  Start(access::Policy());
  const grpc::Status full = Run(Tokens(1));
  EXPECT_EQ(full.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(full.error_details(), Not(HasSubstr("scalpel/reason"))) << "it stays here";
  EXPECT_FALSE(Run(Tokens(0)).ok());
  v1::RunRequest large = Tokens(1);
  large.set_model("large");
  EXPECT_FALSE(Run(large).ok());
  EXPECT_EQ(Rejections("queue_full"), 1);
  EXPECT_EQ(Rejections("invalid"), 2);
  EXPECT_EQ(RejectionReason(OverLimit("limits.max_response_bytes", "too many")),
            Reason::kResponseTooLarge);
  EXPECT_EQ(RejectionReason(absl::UnavailableError("draining")), Reason::kUnavailable);
  EXPECT_EQ(RejectionReason(absl::CancelledError()), std::nullopt);
  EXPECT_EQ(RejectionReason(absl::InternalError("")), std::nullopt);
}

TEST_F(CallsTest, EveryReasonHasItsCounter) {
  const std::map<std::string, int64_t> known = metrics_.Rejections();
  for (const Reason reason : AllReasons())
    EXPECT_TRUE(known.contains(std::string(ReasonWord(reason))));
}

TEST_F(CallsTest, StatusCountsCallsInProgressAndEnded) {
  Start(access::Policy());
  auto held = Hold();
  EXPECT_TRUE(GetModel().ok());
  const v1::GetStatusResponse status = GetStatus();
  EXPECT_EQ(status.state(), v1::SERVER_STATE_SERVING);
  EXPECT_EQ(status.model(), "small");
  EXPECT_GT(status.uptime_us(), 0);
  EXPECT_GT(status.memory().resident_bytes(), 1 << 20);
  EXPECT_FALSE(status.has_engine()) << "this backend has none";
  std::map<std::string, std::pair<int64_t, int64_t>> methods;
  for (const v1::MethodStatus& method : status.methods())
    methods[method.method()] = {method.calls(), method.ended()};
  EXPECT_EQ(methods.size(), contract::MethodNames().size());
  EXPECT_EQ(methods["Run"], std::pair(int64_t{1}, int64_t{0}));
  EXPECT_EQ(methods["GetModel"], std::pair(int64_t{0}, int64_t{1}));
  EXPECT_EQ(methods["GetStatus"], std::pair(int64_t{1}, int64_t{0}));
}

TEST_F(CallsTest, StatusIsAnsweredWhileLoadingAndDraining) {
  Start(access::Policy());
  service_->Close();
  EXPECT_EQ(GetModel().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(GetStatus().state(), v1::SERVER_STATE_DRAINING);
  EXPECT_EQ(Rejections("unavailable"), 1);
  Service loading(Limits(), {.gate = *gate_, .metrics = metrics_});
  ListenOptions options;
  options.address = "127.0.0.1:0";
  const auto listener = Listener::Open(options, &loading);
  ASSERT_TRUE(listener.ok());
  stub_ = v1::InterventionService::NewStub(
      grpc::CreateChannel((*listener)->address(), grpc::InsecureChannelCredentials()));
  const v1::GetStatusResponse status = GetStatus();
  EXPECT_EQ(status.state(), v1::SERVER_STATE_LOADING);
  EXPECT_EQ(status.model(), "");
}

}  // namespace
}  // namespace scalpel::rpc
