// The listener over real connections: its health, how connections are counted and closed, its end.

#include "server/rpc/listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/grpc/health/v1/health.grpc.pb.h"
#include "proto/grpc/reflection/v1/reflection.grpc.pb.h"
#include "server/program/healthcheck.h"
#include "tests/unit/rpc/listener_fixture.h"
#include "tests/unit/rpc/patience.h"

namespace scalpel::rpc {
namespace {

using grpc::health::v1::HealthCheckResponse;
using testing::HasSubstr;

TEST_F(ListenerTest, HealthcheckReportsTheServersHealth) {
  Open();
  const std::string address = listener_->address();
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunHealthcheck(address, false), 1);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("NOT_SERVING\n"));
  listener_->SetServing(true);
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunHealthcheck(address, false), 0);
  EXPECT_EQ(RunHealthcheck("0.0.0.0:" + Port(address), false), 0);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  listener_ = nullptr;
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunHealthcheck(address, false), 1);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(address));
}

TEST_F(ListenerTest, OldConnectionsEndWithoutALostCall) {
  options_.connection_age = absl::Milliseconds(200);
  Open();
  grpc::ClientContext watching;
  const auto channel = Channel();
  const auto stub = grpc::health::v1::Health::NewStub(channel);
  const auto watch = stub->Watch(&watching, {});
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  const absl::Time end = absl::Now() + absl::Seconds(1);
  while (absl::Now() < end) {
    grpc::ClientContext context;
    const grpc::Status status = stub->Check(&context, {}, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_GT(listener_->connections(), 1) << "the watch's, and a new one";
  listener_->SetServing(true);
  ASSERT_TRUE(watch->Read(&response)) << "a call under way was ended";
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  watching.TryCancel();
}

TEST_F(ListenerTest, HealthWatchersSeeTheDrainBeforeTheirCallsEnd) {
  Open();
  listener_->SetServing(true);
  const auto channel = Channel();
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  const auto watch = grpc::health::v1::Health::NewStub(channel)->Watch(&context, {});
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  listener_->SetServing(false);
  listener_->StopAccepting();
  listener_->StopAccepting();
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  // The connection stays open, and new ones are refused.
  EXPECT_EQ(Check(Channel()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Check(channel).ok());
  EXPECT_EQ(listener_->connections(), 1);
  const absl::Time began = absl::Now();
  listener_->Shutdown();
  listener_->Shutdown();
  EXPECT_LT(absl::Now() - began, absl::Seconds(5));
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

// At each kind of address that gRPC names in a way of its own.
class HangUpTest : public ListenerTest, public testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Addresses, HangUpTest,
                         testing::Values("127.0.0.1:0", "[::1]:0", "[::]:0"));

TEST_P(HangUpTest, ClosesTheConnectionsOfTheGivenPeers) {
  if (!net::Acceptor::Listen(GetParam()).ok()) GTEST_SKIP() << "this machine has no IPv6";
  options_.address = GetParam();
  std::string peer;
  options_.admit_reflection = [&peer](grpc::CallbackServerContext* context, Call*) {
    peer = context->peer();
    return absl::OkStatus();
  };
  Open();
  const bool both = options_.address == "[::]:0";  // then the clients use IPv4
  const auto connect = [&] {
    return both ? ChannelTo("127.0.0.1:" + Port(listener_->address()),
                            grpc::InsecureChannelCredentials())
                : Channel();
  };
  const auto named = connect(), other = connect();
  EXPECT_TRUE(Check(other).ok());
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  const auto stream =
      grpc::reflection::v1::ServerReflection::NewStub(named)->ServerReflectionInfo(&context);
  grpc::reflection::v1::ServerReflectionResponse response;
  ASSERT_TRUE(stream->Write({}) && stream->Read(&response));
  EXPECT_EQ(listener_->connections(), 2);
  listener_->HangUp({"unix:", "nonsense", "ipv4:127.0.0.1:1"});
  ASSERT_TRUE(stream->Write({}) && stream->Read(&response));
  listener_->HangUp({peer});
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Check(other).ok());
  // Calls of its that meet the old connection's end fail; then it has a new one.
  const absl::Time end = absl::Now() + kPatience;
  grpc::Status again = Check(named);
  while (!again.ok() && absl::Now() < end) again = Check(named);
  EXPECT_TRUE(again.ok()) << again.error_message();
}

TEST_F(ListenerTest, ConnectionsAreLimited) {
  options_.limits->set_max_connections(1);
  Open();
  const auto first = Channel();
  EXPECT_TRUE(Check(first).ok());
  EXPECT_EQ(Check(Channel()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Check(first).ok());
  EXPECT_EQ(listener_->connections(), 1);
  EXPECT_GE(listener_->connections_refused(), 1);
}

// gRPC's own answer to a method that is declared and not taken raw would be the first that is heard
// of it.
TEST(CheckServed, FindsAMethodThatIsLeftToGrpc) {
  struct AllButGetStatus : v1::InterventionService::WithRawCallbackMethod_GetModel<
                               v1::InterventionService::WithRawCallbackMethod_Tokenize<
                                   v1::InterventionService::WithRawCallbackMethod_Detokenize<
                                       v1::InterventionService::WithRawCallbackMethod_Run<
                                           v1::InterventionService::WithRawCallbackMethod_Sweep<
                                               v1::InterventionService::Service>>>>> {};
  EXPECT_TRUE(absl::IsInternal(CheckServed(AllButGetStatus())));
  EXPECT_TRUE(CheckServed(RawInterventionService()).ok());
}

}  // namespace
}  // namespace scalpel::rpc
