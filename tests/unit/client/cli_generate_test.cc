// How a generation is shown.

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cpp/text.h"
#include "proto/scalpel/v1/service.grpc.pb.h"
#include "tests/unit/client/cli_fixture.h"

namespace scalpel::client {
namespace {

using testing::HasSubstr;
using testing::Not;

v1::GenerateResponse GenerateEvent(const std::string& json) {
  v1::GenerateResponse event;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &event);
  EXPECT_TRUE(status.ok()) << status << " in " << json;
  return event;
}

// `streams`: in JSON. `normalized`: fields of the request, in JSON.
v1::GenerateResponse Begin(const std::string& streams, const std::string& normalized = "") {
  return GenerateEvent(absl::StrCat(
      R"({"started": {"requestId": "g1", "cost": {"flops": 2.5e9},
          "prompts": [{"ids": [10, 11], "tokens": ["The", " end"]}], "streams": [)",
      streams, R"(], "normalized": {"stop": {"maxNewTokens": 8})", normalized, "}}}"));
}

v1::GenerateResponse Token(int stream, int step, int id, const std::string& text) {
  v1::GenerateResponse event;
  v1::GeneratedToken* token = event.mutable_token();
  token->set_stream(stream);
  token->set_step(step);
  token->set_id(id);
  token->set_token(text);
  token->set_text(text);
  return event;
}

v1::GenerateResponse StreamEnd(int stream, const std::string& stop_string = "") {
  v1::GenerateResponse event;
  v1::StreamFinished* end = event.mutable_stream_finished();
  end->set_stream(stream);
  end->set_reason(stop_string.empty() ? v1::FINISH_REASON_LENGTH : v1::FINISH_REASON_STOP_STRING);
  end->set_stop_string(stop_string);
  return event;
}

v1::GenerateResponse End(int tokens) {
  return GenerateEvent(absl::StrCat(
      R"({"finished": {"queueUs": 200, "computeUs": 30000, "newTokens": )", tokens, "}}"));
}

v1::GenerateResponse Std(int stream, int step, int layer, double value) {
  return GenerateEvent(absl::StrCat(
      R"({"step": {"stream": )", stream, R"(, "step": )", step,
      R"(, "layerStatistics": {"layer": )", layer, R"(, "results": [
                   {"name": "resid_post[0]", "layer": )",
      layer, R"(, "statistics": [{"statistic": "STATISTIC_STD", "values": [)", value, "]}]}]}}}"));
}

constexpr char kTwins[] = R"({}, {"unsteered": true})";
constexpr char kUnsteered[] = R"(, "unsteered": true)";

TEST_F(ClientCli, PrintsAText) {
  service_.generate = {Begin("{}"),
                       Token(0, 0, 5, " of"),
                       Token(0, 1, 6, " the\n\x1b"),
                       StreamEnd(0),
                       GenerateEvent(R"({"interventionReport": {"name": "zero[0]",
                           "sitesTouched": 2, "elementsSelected": 8, "elementsChanged": 7,
                           "maxAbsChange": 3.25}})"),
                       End(2)};
  const Outcome outcome = Program({"generate", "The end", "--max-new-tokens", "8"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out.substr(0, outcome.out.find(", total ")),
            R"(generation g1  1 prompt, 1 stream, up to 8 tokens, 2.5 GFLOP
  0  "The end"

text
 of the\n\x1b
  2 tokens, ended by length

interventions
  #  name     places  elements  changed  max |change|
  0  zero[0]       2         8        7          3.25

queue 0.2 ms, compute 30.0 ms, 15.0 ms a token)");
}

TEST_F(ClientCli, PrintsOneStreamAfterAnother) {
  // The tokens come in step; the second stream's are kept until the first one has ended.
  service_.generate = {Begin(R"({}, {"continuation": 1})", R"(, "continuations": 2)"),
                       Token(0, 0, 5, " a"),
                       Token(1, 0, 6, " x"),
                       Token(0, 1, 7, " b"),
                       StreamEnd(0),
                       Token(1, 1, 8, "."),
                       StreamEnd(1, "\n."),
                       End(4)};
  EXPECT_THAT(Program({"generate", "The end"}).out,
              HasSubstr("\ncontinuation 0\n a b\n  2 tokens, ended by length\n"
                        "\ncontinuation 1\n x.\n  2 tokens, ended by stop_string \"\\n.\"\n"));
}

TEST_F(ClientCli, PrintsATextAboveItsTwin) {
  // Twins need not be next to each other, and the steered one may end first.
  service_.generate = {Begin(R"({}, {"prompt": 1}, {"unsteered": true},
                                {"prompt": 1, "unsteered": true})",
                             kUnsteered),
                       Token(0, 0, 5, " a"),
                       Token(1, 0, 5, " a"),
                       Token(2, 0, 5, " a"),
                       Token(3, 0, 5, " a"),
                       Token(0, 1, 6, " b"),
                       Token(2, 1, 7, " c"),
                       StreamEnd(0),
                       StreamEnd(1),
                       StreamEnd(2),
                       StreamEnd(3),
                       End(6)};
  service_.generate[0].mutable_started()->add_prompts()->add_ids(3);
  EXPECT_THAT(Program({"generate", "a", "b"}).out,
              HasSubstr("\nprompt 0, steered\n a b\n  2 tokens, ended by length\n"
                        "\nprompt 0, unsteered\n a c\n"
                        "  2 tokens, ended by length; first difference at step 1\n"
                        "\nprompt 1, steered\n a\n  1 token, ended by length\n"
                        "\nprompt 1, unsteered\n a\n  1 token, ended by length; the same text\n"));
}

TEST_F(ClientCli, MarksWhatDiffersInColour) {
  service_.generate = {Begin(kTwins, kUnsteered), Token(0, 0, 5, " a"), Token(0, 1, 6, " b"),
                       Token(0, 2, 7, " c"),      StreamEnd(0),         Token(1, 0, 5, " a"),
                       Token(1, 1, 9, " x"),      StreamEnd(1),         End(5)};
  const Outcome coloured = Program({"generate", "x"}, 80, /*terminal=*/true);
  EXPECT_THAT(coloured.out, HasSubstr("\n a\x1b[38;5;208m b\x1b[0m\x1b[38;5;208m c\x1b[0m\n"));
  EXPECT_THAT(coloured.out, HasSubstr("\n a x\n"));
  EXPECT_THAT(Program({"generate", "x"}).out, Not(HasSubstr("\x1b")));
}

TEST_F(ClientCli, BreaksLinesOfATextAtTheScreensEdge) {
  service_.generate = {Begin("{}")};
  for (int step = 0; step < 100; ++step)
    service_.generate.push_back(Token(0, step, 5, step % 2 == 0 ? " some" : " words"));
  service_.generate.push_back(StreamEnd(0));
  service_.generate.push_back(End(100));
  int lines = 0;
  for (const absl::string_view line : absl::StrSplit(Program({"generate", "x"}, 60).out, '\n')) {
    if (!absl::StrContains(line, "words")) continue;
    EXPECT_LE(Columns(line), 60) << line;
    ++lines;
  }
  EXPECT_EQ(lines, 10);  // 5 pairs of words in each
}

TEST_F(ClientCli, ShowsTokensWithoutATokenizerAsIds) {
  service_.generate = {Begin("{}"), Token(0, 0, 464, ""), Token(0, 1, 7, ""), StreamEnd(0), End(2)};
  EXPECT_THAT(Program({"generate", "x"}).out, HasSubstr("\n 464 7\n"));
}

TEST_F(ClientCli, MapsStatisticsByStepAndLayer) {
  service_.generate = {Begin("{}"),          Std(0, 0, 0, 1), Std(0, 0, 1, 2),
                       Token(0, 0, 5, " a"), Std(0, 1, 0, 3), Std(0, 1, 1, 10),
                       Token(0, 1, 5, " a"), StreamEnd(0),    End(2)};
  const std::string out = Program({"generate", "x"}).out;
  EXPECT_THAT(out, HasSubstr("std of resid_post[0], text\n"
                             "        layer\n"
                             "  step  0 1\n"
                             "     0  0 1\n"
                             "     1  2 9\n"));
  EXPECT_THAT(out, Not(HasSubstr("--json")));
  service_.generate.insert(service_.generate.begin() + 1,
                           GenerateEvent(R"({"step": {"logits": {}}})"));
  EXPECT_THAT(Program({"generate", "x"}).out, HasSubstr("\n  --json has "));
}

TEST_F(ClientCli, PrintsGenerationsAsJson) {
  service_.generate = {Begin("{}"), Token(0, 0, 5, " a"), StreamEnd(0), End(1)};
  const Outcome outcome = Program({"generate", "x", "--json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<std::string> lines = absl::StrSplit(outcome.out, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(GenerateEvent(lines[1]).token().text(), " a");
}

TEST_F(ClientCli, ShowsThePlanOfAGeneration) {
  service_.generate = {Begin("{}", R"(, "validateOnly": true)")};
  const Outcome outcome = Program({"generate", "x", "--validate-only"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("as the server understands it"));
}

TEST_F(ClientCli, SaysBelowTheTextWhyItIsCutShort) {
  service_.generate = {Begin("{}"), Token(0, 0, 5, " a")};
  Outcome outcome = Program({"generate", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, testing::EndsWith("\n a\n"));
  EXPECT_THAT(outcome.err, HasSubstr("ended without `finished`"));
  service_.generate_status = {grpc::StatusCode::DEADLINE_EXCEEDED, "too late"};
  outcome = Program({"generate", "x"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.out, testing::EndsWith("\n a\n"));
  service_.generate_status = grpc::Status::OK;
  for (const v1::GenerateResponse& event :
       {Token(1, 0, 5, " a"), Token(-1, 0, 5, " a"), Std(1, 0, 0, 1), StreamEnd(7)}) {
    service_.generate = {Begin("{}"), event, End(1)};
    outcome = Program({"generate", "x"});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("a stream that was not announced"));
  }
}

}  // namespace
}  // namespace scalpel::client
