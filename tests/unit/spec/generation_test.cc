#include "server/spec/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/model/key_cache.h"
#include "tests/unit/support/detail.h"
#include "tests/unit/support/limits.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_generate.h"

namespace scalpel::spec {
namespace {

using test::CompileGenerationOrThrow;
using test::GenerationOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::Status Refusal(const std::string& text) {
  return CompileGeneration(GenerationOf(text), test::TinyFacts(), Limits()).status();
}

// The violations of the request, as `field: description`, one to a line.
std::string Violated(const std::string& text) {
  const absl::Status status = Refusal(text);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  std::string lines;
  const auto detail = test::DetailOf<google::rpc::BadRequest>(status);
  for (const auto& violation : detail.field_violations())
    lines += violation.field() + ": " + violation.description() + "\n";
  return lines;
}

constexpr char kZero[] =
    "interventions { place { site: SITE_K where { layers: 1 STEPS } } zero {} } "
    "reuse_kv: KV_REUSE_INTERVENED stop { max_new_tokens: 4 } ";

std::string Zero(const std::string& where) {
  std::string text = kZero;
  return text.replace(text.find("STEPS"), 5, where);
}

TEST(CompileGeneration, NamesEachStreamAndWhatItsKeysTake) {
  const auto generation = CompileGenerationOrThrow(
      GenerationOf("continuations: 2 unsteered: true stop { max_new_tokens: 3 }"));
  std::vector<std::string> streams;
  for (const auto& stream : generation->started().streams())
    streams.push_back(absl::StrCat(stream.prompt(), stream.continuation(), stream.unsteered()));
  EXPECT_THAT(streams, ElementsAre("000", "001", "010", "011", "100", "101", "110", "111"));
  const int64_t positions = 4 * (4 + 2) + 4 * (3 + 2);  // the last new token is not computed
  EXPECT_EQ(generation->started().kv_bytes(),
            model::KeyCache::Bytes(test::TinyConfig(), positions));
  EXPECT_EQ(generation->started().cost().tokens(), positions);
}

TEST(CompileGeneration, RecomputingKeepsNoKeysAndCostsEachStep) {
  const auto generation = CompileGenerationOrThrow(
      GenerationOf("reuse_kv: KV_REUSE_RECOMPUTE_ALL stop { max_new_tokens: 3 }"));
  EXPECT_EQ(generation->started().kv_bytes(), 0);
  EXPECT_EQ(generation->started().cost().tokens(), (4 + 5 + 6) + (3 + 4 + 5));
}

TEST(CompileGeneration, FillsInDefaults) {
  const auto generation = CompileGenerationOrThrow(GenerationOf(Zero("steps { start: 1 }")));
  const v1::GenerateRequest& normalized = generation->started().normalized();
  EXPECT_EQ(normalized.continuations(), 1);
  const v1::Selection& where = normalized.interventions(0).place().where();
  EXPECT_EQ(normalized.interventions(0).name(), "zero[0]");
  EXPECT_EQ(where.steps().start(), 1);
  EXPECT_FALSE(where.has_positions());
  EXPECT_THAT(where.prompts(), ElementsAre(0, 1));
}

TEST(CompileGeneration, NamesWhatIsMissing) {
  EXPECT_THAT(Violated(""), HasSubstr("stop.max_new_tokens: is required"));
  EXPECT_THAT(
      Violated("interventions { place { site: SITE_K } zero {} } stop { max_new_tokens: 1 }"),
      HasSubstr("reuse_kv: is required"));
}

TEST(CompileGeneration, NamesTheFieldOfEachWrongNumber) {
  const std::string violated = Violated(
      "continuations: 0 sampling { temperature: 2 } "
      "stop { max_new_tokens: 0 min_new_tokens: 3 ids: 53 strings: '' } "
      "logits { positions { indices { values: 0 } } }");
  for (const char* field :
       {"continuations", "sampling.temperature", "stop.max_new_tokens", "stop.min_new_tokens",
        "stop.ids[0]", "stop.strings[0]", "logits.positions"})
    EXPECT_THAT(violated, HasSubstr(std::string(field) + ": "));
}

TEST(CompileGeneration, KnowsTheContextsLength) {
  EXPECT_TRUE(Refusal("stop { max_new_tokens: 21 }").ok());  // 4 + 21 - 1 = 24
  EXPECT_THAT(Violated("stop { max_new_tokens: 22 }"),
              HasSubstr("stop.max_new_tokens: 22 after the 4 tokens of prompts[0] do not fit into "
                        "the model's context of 24; give at most 21"));
}

TEST(CompileGeneration, RefusesPlacesThatNoStepComputes) {
  EXPECT_THAT(Violated(Zero("steps { start: 4 }")), HasSubstr("interventions[0].place.where: "));
  EXPECT_THAT(Violated(Zero("steps { start: -1 }")), HasSubstr("place.where.steps: "));
  // Position 1 is the prompt's: step 0 computes it, and no other.
  EXPECT_THAT(Violated(Zero("steps { start: 1 } positions { indices { values: 1 } }")),
              HasSubstr("selects nothing that prompt 0"));
  // The longest sequence of prompt 0 is 7 tokens, that of prompt 1 is 6.
  EXPECT_TRUE(Refusal(Zero("prompts: 0 positions { indices { values: 6 } }")).ok());
  EXPECT_THAT(Violated(Zero("positions { indices { values: 6 } }")),
              HasSubstr("positions.indices.values[0]: 6 is outside [-6, 6)"));
}

TEST(CompileGeneration, RefusesInterventionsAtTheCleanPrompt) {
  std::string text = Zero("");
  text.replace(text.find("INTERVENED"), 10, "CLEAN_PROMPT");
  EXPECT_THAT(Violated(text), HasSubstr("place.where.steps: selects step 0"));
  text = Zero("steps { start: 1 }");
  text.replace(text.find("INTERVENED"), 10, "CLEAN_PROMPT");
  EXPECT_TRUE(Refusal(text).ok());
}

TEST(CompileGeneration, OperationsThatReadElsewhereNeedPositionsThatStay) {
  const std::string patch =
      "interventions { place { site: SITE_RESID_POST where { layers: 1 prompts: 0 WHERE } } "
      "patch { clean_prompt: 1 positions { indices { values: 2 } } } } "
      "reuse_kv: KV_REUSE_INTERVENED stop { max_new_tokens: 4 } ";
  const auto with = [&](const std::string& where) {
    std::string text = patch;
    return text.replace(text.find("WHERE"), 5, where);
  };
  EXPECT_THAT(Violated(with("positions { indices { values: -1 } }")),
              HasSubstr("must select the same positions at every step"));
  EXPECT_TRUE(Refusal(with("positions { indices { values: -1 } } steps { end: 1 }")).ok());
  EXPECT_TRUE(Refusal(with("positions { indices { values: 3 } }")).ok());
  std::string edited = with("positions { indices { values: 3 } }");
  edited.replace(edited.find("clean_prompt"), 12, "prompt");
  EXPECT_THAT(Violated(edited), HasSubstr("patch.prompt: a stream runs alone"));
}

TEST(CompileGeneration, AMeanMayBeOverWhatIsToCome) {
  const std::string mean =
      "interventions { place { site: SITE_Z where { prompts: 0 } } "
      "mean { over { indices { values: INDEX } } } } "
      "reuse_kv: KV_REUSE_RECOMPUTE_ALL stop { max_new_tokens: 4 } ";
  const auto over = [&](const std::string& index) {
    std::string text = mean;
    return text.replace(text.find("INDEX"), 5, index);
  };
  EXPECT_TRUE(Refusal(over("6")).ok());
  EXPECT_THAT(Violated(over("7")), HasSubstr("interventions[0].mean.over.indices.values[0]: 7"));
}

TEST(CompileGeneration, ReportsWhatAnOperationSaysWrong) {
  EXPECT_THAT(Violated("interventions { place { site: SITE_K where { layers: 9 } } zero {} } "
                       "interventions { place { site: SITE_Q } scale {} } "
                       "reuse_kv: KV_REUSE_INTERVENED stop { max_new_tokens: 1 }"),
              testing::AllOf(HasSubstr("interventions[0].place.where.layers[0]: "),
                             HasSubstr("interventions[1].scale.factor: is required")));
  EXPECT_THAT(Violated("interventions { place { site: SITE_RESID_POST } "
                       "add { tensor { shape: 5 values: [1, 1, 1, 1, 1] } } } "
                       "reuse_kv: KV_REUSE_INTERVENED stop { max_new_tokens: 3 }"),
              HasSubstr("interventions[0].add.tensor: shape [5] does not broadcast"));
}

TEST(CompileGeneration, RunsHaveNoSteps) {
  const auto run =
      Compile(test::RequestOf(
                  "interventions { place { site: SITE_K where { steps { end: 1 } } } zero {} }"),
              test::TinyFacts(), Limits());
  EXPECT_THAT(std::string(run.status().message()), HasSubstr("interventions[0].place.where.steps"));
}

TEST(CompileGeneration, RefusesMoreKeysThanThereIsRoomFor) {
  const absl::Status status =
      CompileGeneration(GenerationOf("continuations: 64 stop { max_new_tokens: 20 }"),
                        test::TinyFacts(), test::LimitsOf("max_kv_bytes: 65536"))
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("keys and values"));
}

}  // namespace
}  // namespace scalpel::spec
