// What a request means: what Compile fills in, and what it unfolds into.

#include "server/spec/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::spec {
namespace {

using model::kNoLayer;
using model::Site;
using test::CompileOrThrow;
using test::RequestOf;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(Compile, FillsInEveryDefault) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { path: "blocks.1.attn.hook_k" where { heads: 2 } } noise {} }
      interventions { place { site: SITE_EMBED } add { constant: 2 } }
      interventions { place { path: "RESID_POST" }
          project_out { direction { values: [1,0,0,0,0,0,0,0,0,0,0,0] } } }
      probes { place { path: "transformer.h.2" } statistics: STATISTIC_MEAN }
      captures { place { site: SITE_LOGITS } }
          captures { name: "mine" place { site: SITE_Z } moment: MOMENT_BEFORE }
      output_attentions: true)"));
  const v1::RunRequest expected = test::FromText<v1::RunRequest>(R"(
      model: "tiny" seed: 0
      prompts { token_ids { ids: [1, 2, 3, 4] } } prompts { token_ids { ids: [5, 6, 7] } }
      interventions { name: "noise[0]" place { site: SITE_K
          where { layers: 1 heads: 2 prompts: [0, 1] } }
                      noise { mean: 0 std: 1 mode: NOISE_MODE_REPLACE seed: 0 } }
      interventions { name: "add[1]" place { site: SITE_EMBED where { prompts: [0, 1] } }
          add { constant: 2 coefficient: 1 } }
      interventions { name: "project_out[2]" place { site: SITE_RESID_POST
          where { layers: [0, 1, 2] prompts: [0, 1] } }
                      project_out { direction { values: [1,0,0,0,0,0,0,0,0,0,0,0] } factor: 0 } }
      probes { name: "resid_post[0]" place { site: SITE_RESID_POST
          where { layers: 2 prompts: [0, 1] } }
               statistics: STATISTIC_MEAN moment: MOMENT_AFTER }
      captures { name: "logits[0]" place { site: SITE_LOGITS where { prompts: [0, 1] } }
          moment: MOMENT_AFTER
                 dtype: DATA_TYPE_FLOAT32 }
      captures { name: "mine" place { site: SITE_Z
          where { layers: [0, 1, 2] prompts: [0, 1] } } moment: MOMENT_BEFORE
                 dtype: DATA_TYPE_FLOAT32 }
      logits { positions { indices { values: -1 } } top_k { k: 10 } }
      block_outputs { layers: [0, 1, 2] dtype: DATA_TYPE_FLOAT32 }
      output_attentions: true)");
  EXPECT_EQ(plan->request.DebugString(), expected.DebugString());
  EXPECT_EQ(plan->started.normalized().DebugString(), expected.DebugString());
}

// What is normal stays as it is, and means the same.
TEST(Compile, ANormalRequestIsItsOwnNormalForm) {
  const auto once = CompileOrThrow(RequestOf(
      R"(interventions { place { path: "blocks.0.hook_mlp_out" }
          mean { over { range { end: 2 } } } }
         probes { place { site: SITE_PATTERN } statistics: STATISTIC_ENTROPY
             quantiles: 0.5 } seed: 4)"));
  const auto twice = CompileOrThrow(once->request);
  EXPECT_EQ(twice->request.DebugString(), once->request.DebugString());
  EXPECT_EQ(twice->started.digest(), once->started.digest());
}

TEST(Compile, UnfoldsIntoWhatHappensAtEachSite) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { site: SITE_Z where { layers: [0, 2] heads: 1 prompts: 1 } } zero {} }
      interventions { place { site: SITE_Z where { layers: 2 } } scale { factor: 2 } }
      probes { place { site: SITE_Z where { layers: 2 } }
          statistics: STATISTIC_STD moment: MOMENT_BEFORE }
      captures { place { site: SITE_LN_F_OUT where { positions { indices { values: -1 } } } } }
      block_outputs { layers: [1] } logits { full {} positions { range { start: -2 } } })"));
  EXPECT_THAT(plan->sites, SizeIs(3));
  const SitePlan& last = plan->sites.at({2, Site::kZ});
  ASSERT_THAT(last.steps, SizeIs(3));
  EXPECT_EQ(last.steps[0].intervention, 0);
  EXPECT_EQ(last.steps[0].row, 1);
  EXPECT_THAT(last.steps[0].target->shape(), ElementsAre(3, 1, 4));
  EXPECT_EQ(last.steps[1].intervention, 1);
  EXPECT_THAT(last.steps[1].target->shape(), ElementsAre(4, 3, 4));
  EXPECT_EQ(last.steps[2].row, 1);
  EXPECT_THAT(last.probes_before, SizeIs(2));
  EXPECT_THAT(last.probes_after, IsEmpty());
  EXPECT_THAT(plan->sites.at({0, Site::kZ}).steps, SizeIs(1));
  const SitePlan& final = plan->sites.at({kNoLayer, Site::kLnFOut});
  EXPECT_EQ(final.captures_after[1].region->axis(0).at(0), 2);
  EXPECT_THAT(plan->block_outputs, ElementsAre(false, true, false));
  EXPECT_THAT(plan->logit_positions, ElementsAre(ElementsAre(2, 3), ElementsAre(1, 2)));
}

TEST(Compile, CleanRowsOnlyWhereSomethingNeedsThem) {
  EXPECT_THAT(CompileOrThrow(RequestOf(""))->rows, SizeIs(2));
  const auto patch =
      CompileOrThrow(RequestOf("interventions { place { site: SITE_Z where { positions { range { "
                               "end: 2 } } } } patch { clean_prompt: 1 } }"));
  ASSERT_THAT(patch->rows, SizeIs(3));
  EXPECT_EQ(patch->rows[2].prompt, 1);
  EXPECT_TRUE(patch->rows[2].clean);
  EXPECT_THAT(patch->tokens[2], ElementsAre(5, 6, 7));
  EXPECT_EQ(patch->sites.at({0, Site::kZ}).steps[0].source_row, 2);
  EXPECT_THAT(patch->groups, SizeIs(2));              // the reference is not sent back,
  EXPECT_THAT(patch->logit_positions[2], IsEmpty());  // nor are its logits
  const auto probe = CompileOrThrow(RequestOf(
      "probes { place { site: SITE_Z where { prompts: 0 } } statistics: STATISTIC_COSINE }"));
  ASSERT_THAT(probe->rows, SizeIs(3));
  EXPECT_EQ(probe->sites.at({1, Site::kZ}).probes_after[0].clean_row, 2);
  const auto all = CompileOrThrow(
      RequestOf("include_clean_run: true captures { place { site: SITE_Z where { layers: 0 } } }"));
  EXPECT_THAT(all->rows, SizeIs(4));
  EXPECT_THAT(all->groups, SizeIs(4));
  EXPECT_THAT(all->sites.at({0, Site::kZ}).captures_after, SizeIs(4));
  EXPECT_THAT(all->logit_positions,
              ElementsAre(ElementsAre(3), ElementsAre(2), ElementsAre(3), ElementsAre(2)));
  EXPECT_EQ(all->started.cost().rows(), 4);
  EXPECT_EQ(all->started.cost().tokens(), 14);
}

TEST(Compile, PatchesFromAnEarlierLayerKeepItsValue) {
  const auto plan = CompileOrThrow(RequestOf(
      R"(interventions { place { site: SITE_RESID_POST where { layers: [1, 2] prompts: 1 } }
                         patch { prompt: 0 layer: 0 positions { range { end: 3 } } } })"));
  EXPECT_THAT(plan->sites.at({0, Site::kResidPost}).kept_rows, ElementsAre(0));
  EXPECT_THAT(plan->sites.at({0, Site::kResidPost}).steps, IsEmpty());
  EXPECT_EQ(plan->sites.at({2, Site::kResidPost}).steps[0].source_layer, 0);
}

// A negative index belongs to the axis that it is applied to, and a token to the prompt that holds
// it.
TEST(Compile, PatchesReadWhatThePlaceSaysInTheSource) {
  const auto source_of = [](const std::string& where) {
    const auto plan = CompileOrThrow(
        RequestOf("interventions { place { site: SITE_EMBED where { prompts: 1 positions { " +
                  where + " } } } patch { prompt: 0 } }"));
    return plan->sites.at({kNoLayer, Site::kEmbed}).steps[0].source->axis(0).ToVector();
  };
  EXPECT_THAT(source_of("indices { values: [-1, 0] }"), ElementsAre(3, 0));  // of 4; 2 of 3 written
  EXPECT_THAT(source_of("range { start: -2 }"), ElementsAre(2, 3));
}

TEST(Compile, ListsKeepTheirOrder) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { site: SITE_Z where { prompts: [-1, 0] layers: [2, -3] heads: [2, 0]
          positions { indices { values: [-1, 0] } } units { indices { values: [3, 1] } } } }
        zero {} }
      logits { full {} positions { indices { values: [-1, 0, 1] } } })"));
  const auto& where = plan->request.interventions(0).place().where();
  EXPECT_THAT(where.layers(), ElementsAre(2, 0));
  EXPECT_THAT(where.prompts(), ElementsAre(1, 0));
  const Step& step = plan->sites.at({2, Site::kZ}).steps[0];
  EXPECT_EQ(step.row, 1);
  EXPECT_THAT(step.target->axis(0).ToVector(), ElementsAre(2, 0));
  EXPECT_THAT(step.target->axis(1).ToVector(), ElementsAre(2, 0));
  EXPECT_THAT(step.target->axis(2).ToVector(), ElementsAre(3, 1));
  EXPECT_THAT(plan->logit_positions[0], ElementsAre(3, 0, 1));
}

// The order of what is added up changes no bit of the sum.
TEST(Compile, StatisticsReadSetsButKeepAxesInTheirOrder) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      probes { place { site: SITE_Z where { prompts: 0 heads: [2, 0, 1]
          units { indices { values: [3, 0] } } } } statistics: STATISTIC_MEAN keep: AXIS_HEAD })"));
  const Region& region = *plan->sites.at({0, Site::kZ}).probes_after[0].region;
  EXPECT_THAT(region.axis(1).ToVector(), ElementsAre(2, 0, 1));
  EXPECT_THAT(region.axis(2).ToVector(), ElementsAre(0, 3));
}

TEST(Compile, AxesOfLengthOneInFrontOfAnOperandSayNothing) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { site: SITE_MLP_OUT } add {
          tensor { shape: [1, 1, 12] values: [0,1,2,3,4,5,6,7,8,9,10,11] } } }
      interventions { place { site: SITE_MLP_OUT } project_out {
          direction { shape: [1, 12] values: [0,1,2,3,4,5,6,7,8,9,10,11] } } })"));
  EXPECT_EQ(plan->operands[0].dim(), 2);
  EXPECT_EQ(plan->operands[1].dim(), 1);
}

TEST(Compile, KnockoutPairsBecomeTheirMesh) {
  const auto plan = CompileOrThrow(RequestOf(
      R"(interventions { place { site: SITE_ATTN_SCORES where { prompts: 0 layers: 0 } }
                         knockout { pairs { query: -1 key: 0 } pairs { query: 1 key: 1 }
                             pairs { query: 3 key: 0 } } })"));
  const Region& region = *plan->sites.at({0, Site::kAttnScores}).steps[0].target;
  EXPECT_THAT(region.axis(1).ToVector(), ElementsAre(1, 3));
  EXPECT_THAT(region.axis(2).ToVector(), ElementsAre(0, 1));
}

TEST(Compile, TensorsOfEveryTypeAreDecoded) {
  const auto operand = [](const std::string& tensor) {
    const auto plan = CompileOrThrow(
        RequestOf(absl::StrCat("allow_non_finite: true interventions { place { site: SITE_LN1_OUT "
                               "where { units { range { end: 2 } } } } add { tensor { ",
                               tensor, " } } }")));
    return plan->operands[0];
  };
  const at::Tensor expected = at::tensor({1.0f, -2.0f});
  EXPECT_TRUE(at::equal(operand("values: [1, -2]"), expected));
  EXPECT_TRUE(at::equal(operand("values: [1, -2] shape: [1, 2] dtype: DATA_TYPE_FLOAT32"),
                        expected.view({1, 2})));
  EXPECT_TRUE(at::equal(operand(R"(shape: 2 data: "\000\000\200\077\000\000\000\300")"), expected));
  EXPECT_TRUE(at::equal(operand(R"(dtype: DATA_TYPE_FLOAT16 shape: 2 data: "\000\074\000\300")"),
                        expected));
  EXPECT_TRUE(at::equal(operand(R"(dtype: DATA_TYPE_BFLOAT16 shape: 2 data: "\200\077\000\300")"),
                        expected));
  EXPECT_TRUE(operand("values: [nan, inf]").isnan()[0].item<bool>());
}

TEST(Compile, DigestTellsEveryRequestApart) {
  std::set<std::string> digests;
  for (const std::string text :
       {"", "seed: 1", "allow_non_finite: true", "output_attentions: true",
        "output_hidden_states: true", "include_clean_run: true", "logits { full {} }",
        "logits { none {} }", "prompts { token_ids { ids: 1 } }",
        "captures { place { site: SITE_Z } }", "captures { place { site: SITE_Q } }",
        "interventions { place { site: SITE_Z } zero {} }",
        "interventions { place { site: SITE_Z } set { constant: 0 } }"}) {
    const auto plan = CompileOrThrow(RequestOf(text));
    EXPECT_THAT(plan->started.digest(), SizeIs(64));
    EXPECT_TRUE(digests.insert(plan->started.digest()).second) << text;
    EXPECT_EQ(CompileOrThrow(RequestOf(text))->started.digest(), plan->started.digest());
    EXPECT_EQ(
        CompileOrThrow(RequestOf(absl::StrCat(text, " validate_only: true")))->started.digest(),
        plan->started.digest());
  }
  // Two ways to say the same thing.
  EXPECT_EQ(
      CompileOrThrow(RequestOf(R"(model: "tiny" captures { place { path: "hook_q" } })"))
          ->started.digest(),
      CompileOrThrow(RequestOf("captures { place { site: SITE_Q where { layers: [0, 1, 2] } } }"))
          ->started.digest());
  ModelFacts other = {.name = "tiny",
                      .config = test::TinyConfig(),
                      .tokenizer = std::nullopt,
                      .weights_sha256 = "x"};
  EXPECT_FALSE(digests.contains((*Compile(RequestOf(""), other, Limits()))->started.digest()));
}

}  // namespace
}  // namespace scalpel::spec
