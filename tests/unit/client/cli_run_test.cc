// How a run is shown, and what is asked for it.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include "client/cpp/cli.h"
#include "client/cpp/text.h"
#include "proto/scalpel/v1/service.grpc.pb.h"
#include "tests/unit/client/cli_fixture.h"

namespace scalpel::client {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST_F(ClientCli, ShowsCleanAndEditedSideBySideOnOneScale) {
  Play({Started("\"STATISTIC_STD\"", true), Layer(0, {Result(0, true, 1), Result(0, false, 1)}),
        Layer(1, {Result(1, true, 4.5), Result(1, false, NAN)}),
        Layer(2, {Result(2, true, 8), Result(2, false, 2)}),
        Event(R"({"logits": {"clean": true, "positions": [{"position": 1, "tokens": [
              {"tokenId": 5, "token": " Paris", "logit": 9, "logProb": -0.6931472}]}]}})"),
        Event(R"({"logits": {"positions": [{"position": 1, "tokens": [
              {"tokenId": 6, "token": "\n", "logit": 9, "logProb": 0}]}]}})"),
        Event(
            R"({"interventionReport": {"name": "zero[0]", "sitesTouched": 1,
              "elementsSelected": 5120, "elementsChanged": 5119, "maxAbsChange": 3.25}})"),
        Finished()});
  const Outcome outcome = Program({"run", "The end", "--clean"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  // The total time is the one thing that differs between runs.
  const std::string before_total = outcome.out.substr(0, outcome.out.find(", total "));
  EXPECT_EQ(before_total, R"(run r1  1 prompt, 4 tokens, 2.5 GFLOP
  0  "The end"

                                         std
  layer  probe              clean     edited
      0  resid_post[0]          1          1
      1  resid_post[0]        4.5        nan
      2  resid_post[0]          8          2

std of resid_post[0] at layers 0 to 2, from 1 to 8
  clean   ▁▅█
  edited  ▁?▂

next token after position 1, " end"
  clean                                  edited
  " Paris"               50.0% ████      "\n"                  100.0% ████████

interventions
  #  name     places  elements  changed  max |change|
  0  zero[0]       1     5,120    5,119          3.25

queue 0.2 ms, compute 31.5 ms)");
  for (const absl::string_view line : absl::StrSplit(outcome.out, '\n')) {
    EXPECT_LE(Columns(line), 80) << line;
  }
  EXPECT_THAT(outcome.out, Not(HasSubstr("\x1b")));
}

TEST_F(ClientCli, PutsStatisticsBelowEachOtherWhereTheyDoNotFit) {
  Play({Started(R"("STATISTIC_MEAN", "STATISTIC_STD", "STATISTIC_MIN", "STATISTIC_MAX")", true),
        Layer(0, {Result(0, true, 1.5), Result(0, false, 2)}), Finished()});
  const Outcome outcome = Program({"run", "x"});
  EXPECT_THAT(outcome.out,
              HasSubstr("  layer  probe          statistic           clean     edited\n"
                        "      0  resid_post[0]  std                   1.5          2\n"));
}

TEST_F(ClientCli, ShowsEachRowWhileLaterLayersStillCompute) {
  // Reads what was printed when the server is between two layers.
  std::ostringstream out;
  std::mutex mutex;
  struct Locked : std::stringbuf {
    explicit Locked(std::mutex& mutex) : mutex(mutex) {}
    std::streamsize xsputn(const char* text, std::streamsize size) override {
      const std::lock_guard lock(mutex);
      return std::stringbuf::xsputn(text, size);
    }
    std::string Text() {
      const std::lock_guard lock(mutex);
      return str();
    }
    std::mutex& mutex;
  } buffer(mutex);
  std::ostream stream_out(&buffer);
  bool seen = false;
  service_.run = [&](grpc::ServerContext&, const v1::RunRequest&, FakeService::Stream& stream) {
    stream.Write(Started("\"STATISTIC_STD\"", false));
    stream.Write(Layer(0, {Result(0, false, 1.25)}));
    for (int i = 0; i < 1000 && !seen; ++i) {
      seen = buffer.Text().find("1.25") != std::string::npos;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    stream.Write(Finished());
    return grpc::Status::OK;
  };
  std::istringstream in;
  std::ostringstream err;
  EXPECT_EQ(RunProgram({"run", "x"}, {in, Screen{stream_out, 80}, err, address_}), 0) << err.str();
  EXPECT_TRUE(seen);
}

TEST_F(ClientCli, ShowsNumbersPerHeadAndHistograms) {
  Play({Started("\"STATISTIC_ENTROPY\"", false),
        Layer(1, {R"({"name": "resid_post[0]", "layer": 1, "shape": ["3"],
                      "statistics": [
                        {"statistic": "STATISTIC_ENTROPY", "values": [0.5, 1, 1.5]}]})",
                  R"({"name": "h", "layer": 1,
                      "histogram": {"counts": ["0", "7", "3"], "below": ["2"], "above": ["0"]}})"}),
        Finished()});
  const Outcome outcome = Program({"run", "x"});
  EXPECT_THAT(outcome.out, HasSubstr("  layer 1 resid_post[0] entropy [3]\n         0.5 1 1.5\n"));
  EXPECT_THAT(outcome.out, HasSubstr("  layer 1 h histogram, 2 below, 0 above\n         ▁█▄\n"));
}

TEST_F(ClientCli, PrintsRawEventsAsJson) {
  Play({Started("\"STATISTIC_STD\"", false), Finished()});
  const Outcome outcome = Program({"run", "x", "--json"});
  EXPECT_EQ(outcome.code, 0);
  const std::vector<std::string> lines = absl::StrSplit(outcome.out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(Event(lines[0]).has_started());
  EXPECT_EQ(Event(lines[1]).finished().compute_us(), 31500);
  EXPECT_THAT(lines[0], HasSubstr("\"request_id\":\"r1\""));
}

TEST_F(ClientCli, SendsTheRequestOfTheCommandLine) {
  v1::RunRequest received;
  std::string request_id;
  service_.run = [&](grpc::ServerContext& context, const v1::RunRequest& request,
                     FakeService::Stream& stream) {
    received = request;
    const auto found = context.client_metadata().find("x-request-id");
    if (found != context.client_metadata().end()) {
      request_id.assign(found->second.begin(), found->second.end());
    }
    stream.Write(Finished());
    return grpc::Status::OK;
  };
  EXPECT_EQ(Program({"run", "hello", "--zero", "K:layer=5,head=2", "--request-id", "mine",
                     "--model", "m"})
                .code,
            0);
  EXPECT_EQ(received.model(), "m");
  EXPECT_EQ(received.prompts(0).text(), "hello");
  EXPECT_EQ(received.interventions(0).place().site(), v1::SITE_K);
  EXPECT_EQ(received.interventions(0).place().where().heads(0), 2);
  EXPECT_EQ(request_id, "mine");
}

TEST_F(ClientCli, AcceptsTheOneEventOfValidateOnly) {
  v1::RunResponse started = Started("", false);
  started.mutable_started()->mutable_normalized()->set_validate_only(true);
  Play({started});
  const Outcome outcome = Program({"run", "x", "--validate-only"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\"validate_only\": true"));
}

}  // namespace
}  // namespace scalpel::client
