// What is logged of calls, over a real gRPC server and client.

#include "server/rpc/access_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/unit/rpc/calls_fixture.h"

namespace scalpel::rpc {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kTraceParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

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

}  // namespace
}  // namespace scalpel::rpc
