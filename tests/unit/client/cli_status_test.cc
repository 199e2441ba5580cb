// What is said of the model and the server.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdint>
#include <sstream>
#include <string>

#include "absl/strings/str_split.h"
#include "client/cpp/cli.h"
#include "client/cpp/text.h"
#include "proto/scalpel/v1/service.grpc.pb.h"
#include "tests/unit/client/cli_fixture.h"

namespace scalpel::client {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST_F(ClientCli, ShowsTheModel) {
  const Outcome outcome = Program({"model"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("n_layer                          4\n"));
  EXPECT_THAT(outcome.out, HasSubstr("vocab_size                       50,257\n"));
  EXPECT_THAT(outcome.out,
              HasSubstr("  k     LE  [position, head, unit 64]  attn.hook_k hook_k\n"));
  EXPECT_THAT(outcome.out, testing::ContainsRegex("max_request_bytes +16 MiB\n"));
  EXPECT_THAT(outcome.out, HasSubstr("statistics  abs_max\n"));
  for (const absl::string_view line : absl::StrSplit(outcome.out, '\n')) {
    EXPECT_LE(Columns(line), 80) << line;
  }
  const Outcome missing = Program({"model", "--model", "other"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.err,
            "scalpel-cli: NOT_FOUND: model: no such model; the served one is `tiny`\n");
}

TEST_F(ClientCli, TokenizesDetokenizesAndAsksForHealth) {
  EXPECT_EQ(Program({"tokenize", " four"}).out,
            "  position  id  token\n         0   5  \" four\"\n5\n");
  EXPECT_EQ(Program({"detokenize", "1,2", "3"}).out, "\" ids\\x1b 3\"\n");
  EXPECT_EQ(Program({"health"}).out, "SERVING\n");
  EXPECT_EQ(Program({"health", "--json"}).out, "{\"status\":\"SERVING\"}\n");
  const Outcome unknown = Program({"health", "other"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("NOT_FOUND"));
  server_->GetHealthCheckService()->SetServingStatus(false);
  const Outcome loading = Program({"health"});
  EXPECT_EQ(loading.out, "NOT_SERVING\n");
  EXPECT_EQ(loading.code, 3);
}

// How a server is after so many seconds of the same work.
v1::GetStatusResponse StatusAfter(int64_t seconds) {
  v1::GetStatusResponse status;
  status.set_server_version("1.2.3");
  status.set_model("tiny");
  status.set_device("cpu");
  status.set_state(v1::SERVER_STATE_SERVING);
  status.set_uptime_us(seconds * 1'000'000);
  v1::MethodStatus* run = status.add_methods();
  run->set_method("Run");
  run->set_calls(2);
  run->set_ended(10 * seconds);
  status.add_callers()->set_name(
      "ali\x1b"
      "ce");
  status.mutable_callers(0)->set_calls(2);
  status.add_rejections()->set_reason("queue_full");
  status.mutable_rejections(0)->set_count(7);
  status.add_rejections()->set_reason("invalid");
  v1::EngineStatus* engine = status.mutable_engine();
  engine->set_queued(3);
  engine->set_running(1);
  engine->set_waves(20 * seconds);
  engine->set_rows(40 * seconds);
  engine->set_tokens(1000 * seconds);
  engine->set_tokens_computed(250 * seconds);
  engine->set_flops(4e9 * static_cast<double>(seconds));
  engine->set_flops_computed(1e9 * static_cast<double>(seconds));
  engine->set_busy_us(500'000 * seconds);
  status.mutable_baseline_cache()->set_hits(3);
  status.mutable_baseline_cache()->set_misses(1);
  status.mutable_baseline_cache()->set_entries(2);
  status.mutable_memory()->set_resident_bytes(512 << 20);
  status.mutable_memory()->set_limit_bytes(int64_t{2} << 30);
  status.set_connections(4);
  return status;
}

TEST_F(ClientCli, ShowsTheStatus) {
  service_.status = [](v1::GetStatusResponse& status) {
    return status = StatusAfter(3725), grpc::Status::OK;
  };
  const Outcome outcome = Program({"status"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  for (const char* part :
       {"scalpel 1.2.3  tiny on cpu  serving, up 1h2m5s\n", "queue        3 waiting, 1 running\n",
        "engine       50% busy, 20/s passes, 40/s rows\n", "tokens       1000/s, 75% saved\n",
        "compute      1 GFLOP/s, 75% saved\n", "cache        0 B of 0 B, 2 prompts, 75% hits\n",
        "memory       512 MiB of 2 GiB\n", "connections  4\n", "Run             2  37,250  10/s\n",
        "ali\\x1bce          2\n", "queue_full       7\n"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
  EXPECT_THAT(outcome.out, Not(HasSubstr("invalid"))) << "nothing was";
  const Outcome json = Program({"status", "--json"});
  EXPECT_THAT(json.out, HasSubstr("\"state\":\"SERVER_STATE_SERVING\""));
}

TEST_F(ClientCli, ShowsThatEachCallerHasACacheOfItsOwn) {
  service_.status = [](v1::GetStatusResponse& status) {
    status = StatusAfter(9);
    status.mutable_baseline_cache()->set_scope(v1::CACHE_SCOPE_CALLER);
    return grpc::Status::OK;
  };
  EXPECT_THAT(Program({"status"}).out, HasSubstr("75% hits, each caller its own\n"));
}

TEST_F(ClientCli, ShowsALoadingServer) {
  service_.status = [](v1::GetStatusResponse& status) {
    status.set_server_version("1.2.3");
    status.set_state(v1::SERVER_STATE_LOADING);
    status.set_uptime_us(2'000'000);
    return grpc::Status::OK;
  };
  const Outcome outcome = Program({"status"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::StartsWith("scalpel 1.2.3  loading, up 2s\n"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("queue")));
}

TEST_F(ClientCli, TopShowsRatesOfTheLastInterval) {
  // 3725 s of work, and then a second without.
  int64_t asked = 0;
  service_.status = [&asked](v1::GetStatusResponse& status) {
    status = StatusAfter(3725);
    status.set_uptime_us(status.uptime_us() + 1'000'000 * asked++);
    return grpc::Status::OK;
  };
  const Outcome outcome = Program({"top", "--refreshes", "2"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(asked, 2);
  const size_t second = outcome.out.find("\n\nscalpel 1.2.3");
  ASSERT_NE(second, std::string::npos) << outcome.out;
  EXPECT_THAT(outcome.out.substr(0, second), HasSubstr("50% busy"));
  EXPECT_THAT(outcome.out.substr(second), HasSubstr("0% busy, 0/s passes"));
  EXPECT_THAT(outcome.out.substr(second), HasSubstr("tokens       0/s\n"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("\x1b")));
}

TEST_F(ClientCli, TopReplacesWhatATerminalShows) {
  service_.status = [](v1::GetStatusResponse& status) {
    return status = StatusAfter(9), grpc::Status::OK;
  };
  std::istringstream in;
  std::ostringstream out, err;
  EXPECT_EQ(RunProgram({"top", "--refreshes", "1"},
                       {in, Screen{out, 80, /*colour=*/false, /*terminal=*/true}, err, address_}),
            0);
  EXPECT_THAT(out.str(), testing::StartsWith("\x1b[H\x1b[Jscalpel 1.2.3"));
}

TEST_F(ClientCli, TopEndsQuietlyAndFailsLoudly) {
  service_.status = [](v1::GetStatusResponse& status) {
    std::raise(SIGINT);
    return status = StatusAfter(9), grpc::Status::OK;
  };
  const Outcome interrupted = Program({"top"});
  EXPECT_EQ(interrupted.code, 0);
  EXPECT_EQ(interrupted.err, "");
  service_.status = [](v1::GetStatusResponse&) {
    return grpc::Status(grpc::StatusCode::PERMISSION_DENIED, "needs the role operator");
  };
  const Outcome refused = Program({"top"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("needs the role operator"));
  EXPECT_EQ(Program({"top", "--refreshes", "0"}).code, 2);
  EXPECT_EQ(Program({"top", "often"}).code, 2);
}

}  // namespace
}  // namespace scalpel::client
