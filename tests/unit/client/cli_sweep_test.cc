// How a sweep is drawn.

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/scalpel/v1/service.grpc.pb.h"
#include "tests/unit/client/cli_fixture.h"

namespace scalpel::client {
namespace {

using testing::HasSubstr;

v1::SweepResponse SweepEvent(const std::string& json) {
  v1::SweepResponse event;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &event);
  EXPECT_TRUE(status.ok()) << status << " in " << json;
  return event;
}

std::vector<v1::SweepResponse> SmallSweep() {
  std::vector<v1::SweepResponse> events = {
      SweepEvent(R"({"started": {"requestId": "s1", "variants": 6, "cost": {"flops": 2.5e9},
          "axes": [{"name": "layer", "labels": ["0", "1"]},
                   {"name": "position", "labels": ["0 \" a\"", "1 \" b\"", "2 \"\u001b\""]}],
          "prompts": [{"ids": [1, 2, 3], "tokens": [" a", " b", "\u001b"]}],
          "normalized": {"prompts": [{}], "metrics": [{"name": "diff"}]}}})"),
      SweepEvent(R"({"clean": {"metrics": [{"name": "diff", "values": [1.5]}]}})"),
      SweepEvent(R"({"progress": {"done": 3, "total": 6}})")};
  constexpr const char* kValues[] = {"1.5", "0", "\"NaN\"", "2", "1", "9.5"};
  for (int i = 5; i >= 0; --i) {
    events.push_back(SweepEvent(
        absl::StrCat(R"({"variant": {"index": )", i, R"(, "coordinates": [)", i / 3, ", ", i % 3,
                     R"(], "metrics": [{"name": "diff", "values": [)", kValues[i], "]}]}}")));
  }
  events.push_back(SweepEvent(R"({"finished": {"queueUs": 200, "computeUs": 60000,
      "tokensComputed": 12, "variants": 6}})"));
  return events;
}

TEST_F(ClientCli, DrawsASweepInDigitsWithoutATerminal) {
  service_.sweep = SmallSweep();
  const Outcome outcome = Program({"sweep", "x"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out.substr(0, outcome.out.find(", total ")),
            R"(sweep s1  2 layers x 3 positions, 1 prompt, 2.5 GFLOP
  0  " a b\x1b"

diff  clean 1.5
            layer
  position  0 1
  0 " a"    1 2
  1 " b"    0 1
  2 "\x1b"  ? 9
  0 is 0, 9 is 9.5, clean 1.5
  furthest from clean
  layer 1, position 2 "\x1b"  9.5    +8
  layer 0, position 1 " b"      0  -1.5
  layer 1, position 0 " a"      2  +0.5
  layer 1, position 1 " b"      1  -0.5
  layer 0, position 0 " a"    1.5    +0

queue 0.2 ms, compute 60.0 ms, 10.0 ms a variant)");
}

TEST_F(ClientCli, DrawsASweepInColoursAndShowsProgress) {
  service_.sweep = SmallSweep();
  const Outcome outcome = Program({"sweep", "x"}, 80, /*terminal=*/true);
  EXPECT_THAT(outcome.out, HasSubstr("\x1b[48;5;226;38;5;16m 9.50 \x1b[0m"));
  EXPECT_THAT(outcome.err, HasSubstr("3 of 6 variants"));
  EXPECT_THAT(outcome.err, testing::EndsWith("\r\x1b[K"));
}

TEST_F(ClientCli, AnIncompleteSweepIsAnError) {
  service_.sweep = SmallSweep();
  service_.sweep.pop_back();
  const Outcome outcome = Program({"sweep", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("ended without `finished`"));
}

}  // namespace
}  // namespace scalpel::client
