// What is said of errors, when a call is tried again, and the exit codes.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "proto/scalpel/v1/service.grpc.pb.h"
#include "tests/unit/client/cli_fixture.h"

namespace scalpel::client {
namespace {

using testing::HasSubstr;
using testing::Not;

grpc::Status Refusal(grpc::StatusCode code, const google::protobuf::Message& detail) {
  google::rpc::Status status;
  status.set_code(code);
  status.add_details()->PackFrom(detail);
  return {code, "no\x1b[31m", status.SerializeAsString()};
}

TEST_F(ClientCli, PrintsEveryViolationEscaped) {
  google::rpc::BadRequest bad;
  for (const char* field : {"interventions[0].place", "probes[1]\n"}) {
    auto* violation = bad.add_field_violations();
    violation->set_field(field);
    violation->set_description("is wrong; say something else");
  }
  service_.run = [&](auto&, auto&, auto&) {
    return Refusal(grpc::StatusCode::INVALID_ARGUMENT, bad);
  };
  const Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            "scalpel-cli: INVALID_ARGUMENT: no\\x1b[31m\n"
            "  interventions[0].place: is wrong; say something else\n"
            "  probes[1]\\n: is wrong; say something else\n");
}

TEST_F(ClientCli, PrintsQuotaAndRetry) {
  google::rpc::QuotaFailure quota;
  quota.add_violations()->set_subject("limits.max_response_bytes");
  quota.mutable_violations(0)->set_description("2 GiB of 1 GiB");
  service_.run = [&](auto&, auto&, auto&) {
    return Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, quota);
  };
  Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("RESOURCE_EXHAUSTED: no"));
  EXPECT_THAT(outcome.err, HasSubstr("  limits.max_response_bytes: 2 GiB of 1 GiB\n"));
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  service_.run = [&](auto&, auto&, auto&) {
    return Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, retry);
  };
  outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("  try again after 0.5 s\n"));
}

// The first `failures` calls of Run end with `failure`, later ones succeed.
void FailFirst(FakeService& service, int failures, const grpc::Status& failure, int* calls) {
  service.run = [=](grpc::ServerContext&, const v1::RunRequest&, FakeService::Stream& stream) {
    if (++*calls <= failures) return failure;
    stream.Write(Finished());
    return grpc::Status::OK;
  };
}

TEST_F(ClientCli, RetriesIfTheServerSendsRetryInfo) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(300'000'000);
  int calls = 0;
  FailFirst(service_, 1, Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, retry), &calls);
  const auto began = std::chrono::steady_clock::now();
  const Outcome full = Program({"run", "x"});
  EXPECT_EQ(full.code, 0) << full.err;
  EXPECT_EQ(calls, 2);
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(300));
  calls = 0;
  FailFirst(service_, 2, {grpc::StatusCode::UNAVAILABLE, "loading"}, &calls);
  EXPECT_EQ(Program({"run", "x"}).code, 0);
  EXPECT_EQ(calls, 3);
}

TEST_F(ClientCli, DoesNotRetryWhereThatCannotHelp) {
  int calls = 0;
  FailFirst(service_, 9, Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, google::rpc::QuotaFailure()),
            &calls);
  EXPECT_EQ(Program({"run", "x"}).code, 1);
  EXPECT_EQ(calls, 1);
  // What has been shown cannot be taken back.
  calls = 0;
  service_.run = [&](auto&, auto&, FakeService::Stream& stream) {
    ++calls;
    stream.Write(Started("", false));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "it went away");
  };
  EXPECT_EQ(Program({"run", "x"}).code, 3);
  EXPECT_EQ(calls, 1);
}

TEST_F(ClientCli, SendsTheTokenAndPrintsARemedyIfRefused) {
  std::string sent;
  grpc::Status answer(grpc::StatusCode::UNAUTHENTICATED, "no token");
  service_.run = [&](grpc::ServerContext& context, auto&, auto&) {
    const auto found = context.client_metadata().find("authorization");
    sent = found == context.client_metadata().end()
               ? "none"
               : std::string(found->second.begin(), found->second.end());
    return answer;
  };
  Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(sent, "none");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err,
            "scalpel-cli: UNAUTHENTICATED: no token\n"
            "  give a token by --token-file or $SCALPEL_TOKEN, or --cert and --key\n");
  outcome = Program({"run", "x"}, 80, false, "secret");
  EXPECT_EQ(sent, "Bearer secret");
  EXPECT_THAT(outcome.err, HasSubstr("  the token is wrong or has expired"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("secret")));
  answer = {grpc::StatusCode::PERMISSION_DENIED, "a reader may not"};
  outcome = Program({"run", "x"}, 80, false, "secret");
  EXPECT_THAT(outcome.err,
              HasSubstr("PERMISSION_DENIED: a reader may not\n  ask the operator of the server"));
  outcome = Program({"run", "x", "--server", "example.org:1"}, 80, false, "secret");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("would travel to example.org:1 unencrypted; add --tls"));
}

TEST_F(ClientCli, ExitCodesTellUsageConnectionAndDeadlineApart) {
  EXPECT_EQ(Program({"run", "x", "--zero", "K:haed=1"}).code, 2);
  EXPECT_EQ(Program({"run", "missing.json"}).code, 2);
  EXPECT_EQ(Program({"detokenize", "x"}).code, 2);
  const Outcome no_server = Program({"model", "--server", "127.0.0.1:1"});
  EXPECT_EQ(no_server.code, 3);
  EXPECT_THAT(no_server.err, HasSubstr("is a server ready at 127.0.0.1:1?"));
  service_.run = [](grpc::ServerContext& context, const v1::RunRequest&, FakeService::Stream&) {
    while (!context.IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::CANCELLED;
  };
  const Outcome late = Program({"run", "x", "--deadline", "0.2"});
  EXPECT_EQ(late.code, 4);
  EXPECT_THAT(late.err, HasSubstr("DEADLINE_EXCEEDED"));
}

}  // namespace
}  // namespace scalpel::client
