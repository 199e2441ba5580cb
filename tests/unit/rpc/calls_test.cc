// Which calls may begin, what is counted of them and what is logged, over a real gRPC server and
// client.

#include "server/rpc/calls.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"
#include "proto/grpc/reflection/v1/reflection.grpc.pb.h"
#include "server/access/token_list.h"
#include "server/base/errors.h"
#include "server/contract/methods.h"
#include "server/rpc/access_log.h"
#include "server/rpc/entrance.h"
#include "server/rpc/listener.h"
#include "server/rpc/service.h"

namespace scalpel::rpc {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr absl::Duration kPatience = absl::Seconds(20);
constexpr char kReader[] = "scalpel_reader_0123456789abcdef012345";
constexpr char kRunner[] = "scalpel_runner_0123456789abcdef012345";
constexpr char kOperator[] = "scalpel_operator_0123456789abcdef0123";
constexpr char kTraceParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

access::Policy WithTokens() {
  const auto entry = [](const char* name, const char* token, access::Role role) {
    return access::TokenEntry{.name = name, .hash = access::HashOf(token), .role = role};
  };
  std::vector<access::TokenEntry> entries = {entry("rita", kReader, v1::ROLE_READER),
                                             entry("ron", kRunner, v1::ROLE_RUNNER),
                                             entry("olga", kOperator, v1::ROLE_OPERATOR)};
  entries[1].calls_max = 1;
  entries[1].tokens_per_second_max = 1;
  const auto list = std::make_shared<const access::TokenList>(std::move(entries));
  access::Policy policy;
  policy.tokens = [list] { return list; };
  return policy;
}

spec::ModelFacts SmallFacts() {
  spec::ModelFacts facts;
  facts.name = "small";
  facts.config.n_layer = 2;
  facts.config.n_head = 2;
  facts.config.d_model = 8;
  facts.config.d_head = 4;
  facts.config.d_mlp = 32;
  facts.config.n_ctx = 16;
  facts.config.vocab_size = 11;
  return facts;
}

v1::RunRequest Tokens(int count) {
  v1::RunRequest request;
  for (int i = 0; i < count; ++i) request.add_prompts()->mutable_token_ids()->add_ids(3);
  return request;
}

class CallsTest : public testing::Test {
 protected:
  // A server with these settings, whose engine holds calls until they are cancelled.
  void Start(access::Policy policy, const Limits& limits = {},
             absl::Duration slow = absl::ZeroDuration()) {
    gate_ = std::make_unique<access::Gate>(std::move(policy));
    service_ = std::make_unique<Service>(
        limits, Surroundings{.gate = *gate_, .metrics = metrics_, .slow_call = slow});
    ListenOptions options;
    options.address = "127.0.0.1:0";
    options.limits = limits;
    options.admit_reflection = [this](grpc::CallbackServerContext* context, Call* call) {
      return service_->AdmitReflection(*context, call);
    };
    auto listener = Listener::Open(options, service_.get());
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    service_->Open(std::make_shared<const Backend>(
        Backend{facts_, "cpu", "avx2", 3, [this](auto job) { return submit_(job); }}));
    channel_ = grpc::CreateChannel(listener_->address(), grpc::InsecureChannelCredentials());
    stub_ = v1::InterventionService::NewStub(channel_);
  }

  void TearDown() override {
    if (listener_ == nullptr) return;
    WaitIdle();
    listener_->Shutdown();
  }

  // A call that runs until it is cancelled.
  struct Held {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::RunResponse>> reader;
    v1::RunResponse started;
    ~Held() {
      context.TryCancel();
      reader->Finish();
    }
  };
  std::unique_ptr<Held> Hold(const char* token = nullptr) {
    auto held = std::make_unique<Held>();
    Show(token, &held->context);
    held->reader = stub_->Run(&held->context, Tokens(1));
    EXPECT_TRUE(held->reader->Read(&held->started));
    return held;
  }

  static void Show(const char* token, grpc::ClientContext* context) {
    if (token != nullptr) context->AddMetadata("authorization", absl::StrCat("Bearer ", token));
  }

  grpc::Status GetModel(const char* token = nullptr) {
    grpc::ClientContext context;
    Show(token, &context);
    v1::GetModelResponse model;
    return stub_->GetModel(&context, {}, &model);
  }

  grpc::Status Run(const v1::RunRequest& request, const char* token = nullptr) {
    grpc::ClientContext context;
    Show(token, &context);
    const auto reader = stub_->Run(&context, request);
    v1::RunResponse response;
    while (reader->Read(&response)) continue;
    const grpc::Status status = reader->Finish();
    WaitIdle();
    return status;
  }

  v1::GetStatusResponse GetStatus(const char* token = nullptr) {
    grpc::ClientContext context;
    Show(token, &context);
    v1::GetStatusResponse status;
    const grpc::Status end = stub_->GetStatus(&context, {}, &status);
    EXPECT_TRUE(end.ok()) << end.error_message();
    return status;
  }

  // A client sees the end of a stream a little before the server has counted it.
  void WaitIdle() {
    EXPECT_TRUE(service_->WaitIdle(absl::Now() + kPatience)) << "a call never ended";
  }

  int64_t Rejections(const std::string& reason) {
    WaitIdle();
    return metrics_.Rejections().at(reason);
  }

  const spec::ModelFacts facts_ = SmallFacts();
  insight::Metrics metrics_{contract::MethodNames()};
  std::function<absl::Status(std::shared_ptr<engine::Job>)> submit_ = [](auto) {
    return absl::OkStatus();
  };
  std::unique_ptr<access::Gate> gate_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<Listener> listener_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::InterventionService::Stub> stub_;
};

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
    return Because(Reason::kQueueFull, Busy("the queue is full", absl::Seconds(1)));
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

// ---- what is logged -----------------------------------------------------------------------------

// Collects what is logged, as text or as JSON objects.
class LogTest : public CallsTest {
 protected:
  LogTest() : before_(spdlog::default_logger()) { spdlog::set_default_logger(Logger("test")); }
  ~LogTest() override {
    spdlog::set_default_logger(before_);
    spdlog::drop(kAccessLogger);
    spdlog::drop("test");
  }

  void LogJson() { spdlog::register_logger(Logger(kAccessLogger)); }

  // All lines about calls so far; the calls have ended.
  std::vector<std::string> Lines() {
    WaitIdle();
    const auto about_calls = [](absl::string_view line) {
      return absl::StrContains(line, "request");
    };
    return absl::StrSplit(out_.str(), '\n', about_calls);
  }

 private:
  std::shared_ptr<spdlog::logger> Logger(const char* name) {
    auto logger = std::make_shared<spdlog::logger>(name, sink_);
    logger->set_pattern("%l %v");
    return logger;
  }

  const std::shared_ptr<spdlog::logger> before_;
  std::ostringstream out_;
  const std::shared_ptr<spdlog::sinks::ostream_sink_mt> sink_ =
      std::make_shared<spdlog::sinks::ostream_sink_mt>(out_);
};

TEST_F(LogTest, EachCallIsOneLineWithCallerTraceAndReason) {
  Start(WithTokens());
  grpc::ClientContext context;
  Show(kReader, &context);
  context.AddMetadata("x-request-id", "study-7");
  context.AddMetadata("traceparent", kTraceParent);
  const auto reader = stub_->Run(&context, Tokens(1));
  v1::RunResponse none;
  EXPECT_FALSE(reader->Read(&none));
  EXPECT_FALSE(reader->Finish().ok());
  WaitIdle();  // A call's line is written after its client has seen the end.
  EXPECT_TRUE(GetModel(kReader).ok());
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], testing::MatchesRegex(
                            "info request=study-7 method=Run peer=ipv4:127\\.0\\.0\\.1:[0-9]+ "
                            "code=PERMISSION_DENIED reason=permission total_us=[0-9]+ .* "
                            "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=[0-9a-f]{16} "
                            "parent_span_id=00f067aa0ba902b7"));
  EXPECT_THAT(lines[1], HasSubstr(" method=GetModel caller=rita "));
  EXPECT_THAT(lines[1], HasSubstr(" code=OK total_us="));
  EXPECT_THAT(lines[1], Not(HasSubstr("parent_span_id")));
  for (const std::string& line : lines) EXPECT_THAT(line, Not(HasSubstr(kReader)));
}

TEST_F(LogTest, AsJsonTheFieldsAreMembers) {
  LogJson();
  Start(access::Policy());
  v1::RunRequest request = Tokens(1);
  request.add_prompts()->set_text("a secret prompt");
  EXPECT_FALSE(Run(request).ok());
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 1u);
  const auto line = nlohmann::json::parse(lines[0].substr(lines[0].find('{')));
  EXPECT_EQ(line["message"], "call");
  EXPECT_EQ(line["method"], "Run");
  EXPECT_EQ(line["caller"], "anonymous");
  EXPECT_EQ(line["code"], "FAILED_PRECONDITION");
  EXPECT_EQ(line["reason"], "invalid");
  EXPECT_TRUE(line["total_us"].is_number_integer());
  EXPECT_EQ(line["tokens"], 0);
  EXPECT_FALSE(line.contains("parent_span_id"));
  EXPECT_THAT(lines[0], Not(HasSubstr("secret")));
}

TEST_F(LogTest, ASlowCallIsLoggedAsAWarning) {
  Start(access::Policy(), Limits(), /*slow=*/absl::Milliseconds(300));
  EXPECT_TRUE(GetModel().ok());
  auto held = Hold();
  absl::SleepFor(absl::Milliseconds(310));
  held.reset();
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_THAT(lines[1], testing::StartsWith("info request="));
  EXPECT_THAT(lines[2], testing::StartsWith("warning slow call: request="));
  EXPECT_THAT(lines[2], HasSubstr("code=CANCELLED"));
}

TEST(Entrance, HostsAreWithoutSchemeAndPort) {
  EXPECT_EQ(HostOf("ipv4:192.0.2.7:50123"), "192.0.2.7");
  EXPECT_EQ(HostOf("ipv6:[2001:db8::1]:50123"), "[2001:db8::1]");
  EXPECT_EQ(HostOf("ipv6:%5B::1%5D:50123"), "%5B::1%5D");
}

}  // namespace
}  // namespace scalpel::rpc
