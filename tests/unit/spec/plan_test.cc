// What a request means: what Compile fills in, and what it unfolds into.

#include "server/spec/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "tests/unit/support/limits.h"
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
  EXPECT_EQ(plan->started.normalized().DebugString(), expected.DebugString());
}

// What is normal stays as it is, and means the same.
TEST(Compile, ANormalRequestIsItsOwnNormalForm) {
  const auto once = CompileOrThrow(RequestOf(
      R"(interventions { place { path: "blocks.0.hook_mlp_out" }
          mean { over { range { end: 2 } } } }
         probes { place { site: SITE_PATTERN } statistics: STATISTIC_ENTROPY
             quantiles: 0.5 } seed: 4)"));
  const auto twice = CompileOrThrow(once->started.normalized());
  EXPECT_EQ(twice->started.normalized().DebugString(), once->started.normalized().DebugString());
  EXPECT_EQ(twice->started.digest(), once->started.digest());
}

TEST(Compile, UnfoldsIntoTheStepsOfEachSite) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { site: SITE_Z where { layers: [0, 2] heads: 1 prompts: 1 } } zero {} }
      interventions { place { site: SITE_Z where { layers: 2 } } scale { factor: 2 } }
      probes { place { site: SITE_Z where { layers: 2 } }
          statistics: STATISTIC_STD moment: MOMENT_BEFORE }
      captures { place { site: SITE_LN_F_OUT where { positions { indices { values: -1 } } } } }
      block_outputs { layers: [1] } logits { full {} positions { range { start: -2 } } })"));
  EXPECT_THAT(plan->sites, SizeIs(4));
  const SitePlan& last = plan->sites.at({2, Site::kZ});
  ASSERT_THAT(last.steps, SizeIs(3));
  EXPECT_EQ(last.steps[0].edit, 0);
  EXPECT_EQ(last.steps[0].row, 1);
  EXPECT_THAT(last.steps[0].target->shape(), ElementsAre(3, 1, 4));
  EXPECT_EQ(last.steps[1].edit, 1);
  EXPECT_THAT(last.steps[1].target->shape(), ElementsAre(4, 3, 4));
  EXPECT_EQ(last.steps[2].row, 1);
  EXPECT_THAT(last.before, SizeIs(2));
  EXPECT_EQ(last.before[0].kind, Observation::Kind::kProbe);
  EXPECT_THAT(last.after, IsEmpty());
  EXPECT_THAT(plan->sites.at({0, Site::kZ}).steps, SizeIs(1));
  const SitePlan& final = plan->sites.at({kNoLayer, Site::kLnFOut});
  EXPECT_EQ(final.after[1].region->axis(0).at(0), 2);
  EXPECT_THAT(plan->sites.at({1, Site::kResidPost}).after, SizeIs(2));  // prompts differ in length
  EXPECT_THAT(plan->logit_positions, ElementsAre(ElementsAre(2, 3), ElementsAre(1, 2)));
}

TEST(Compile, AddsCleanRowsOnlyIfNeeded) {
  EXPECT_THAT(CompileOrThrow(RequestOf(""))->rows, SizeIs(2));
  const auto patch =
      CompileOrThrow(RequestOf("interventions { place { site: SITE_Z where { positions { range { "
                               "end: 2 } } } } patch { clean_prompt: 1 } }"));
  ASSERT_THAT(patch->rows, SizeIs(3));
  EXPECT_EQ(patch->rows[2].prompt, 1);
  EXPECT_TRUE(patch->rows[2].clean);
  EXPECT_THAT(patch->tokens[2], ElementsAre(5, 6, 7));
  EXPECT_EQ(patch->sites.at({0, Site::kZ}).steps[0].source->row, 2);
  EXPECT_THAT(patch->logit_positions[2], IsEmpty());  // the reference is not sent back
  const auto probe = CompileOrThrow(RequestOf(
      "probes { place { site: SITE_Z where { prompts: 0 } } statistics: STATISTIC_COSINE }"));
  ASSERT_THAT(probe->rows, SizeIs(3));
  EXPECT_EQ(probe->sites.at({1, Site::kZ}).after[0].clean_row, 2);
  const auto all = CompileOrThrow(
      RequestOf("include_clean_run: true captures { place { site: SITE_Z where { layers: 0 } } }"));
  EXPECT_THAT(all->rows, SizeIs(4));
  EXPECT_THAT(all->sites.at({0, Site::kZ}).after, SizeIs(4));
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
  EXPECT_EQ(plan->sites.at({2, Site::kResidPost}).steps[0].source->layer, 0);
}

// A negative index belongs to the axis that it is applied to, and a token to the prompt that holds
// it.
TEST(Compile, PatchesResolveTheirPlaceInTheSource) {
  const auto source_of = [](const std::string& where) {
    const auto plan = CompileOrThrow(
        RequestOf("interventions { place { site: SITE_EMBED where { prompts: 1 positions { " +
                  where + " } } } patch { prompt: 0 } }"));
    return plan->sites.at({kNoLayer, Site::kEmbed}).steps[0].source->region->axis(0).ToVector();
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
  const auto& where = plan->started.normalized().interventions(0).place().where();
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
TEST(Compile, StatisticsSortReducedAxesButNotKeptOnes) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      probes { place { site: SITE_Z where { prompts: 0 heads: [2, 0, 1]
          units { indices { values: [3, 0] } } } } statistics: STATISTIC_MEAN keep: AXIS_HEAD })"));
  const Region& region = *plan->sites.at({0, Site::kZ}).after[0].region;
  EXPECT_THAT(region.axis(1).ToVector(), ElementsAre(2, 0, 1));
  EXPECT_THAT(region.axis(2).ToVector(), ElementsAre(0, 3));
}

TEST(Compile, IgnoresLeadingAxesOfLengthOneOfAnOperand) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { site: SITE_MLP_OUT } add {
          tensor { shape: [1, 1, 12] values: [0,1,2,3,4,5,6,7,8,9,10,11] } } }
      interventions { place { site: SITE_MLP_OUT } project_out {
          direction { shape: [1, 12] values: [0,1,2,3,4,5,6,7,8,9,10,11] } } })"));
  EXPECT_EQ(plan->edits[0].operand.dim(), 2);
  EXPECT_EQ(plan->edits[1].operand.dim(), 1);
}

TEST(Compile, KnockoutPairsBecomeTheirMeshAndCountFromTheStart) {
  const auto plan = CompileOrThrow(RequestOf(
      R"(interventions { place { site: SITE_ATTN_SCORES where { layers: 0 } }
                         knockout { pairs { query: -1 key: 0 } pairs { query: 1 key: 1 } } })"));
  const std::vector<Step>& steps = plan->sites.at({0, Site::kAttnScores}).steps;
  ASSERT_THAT(steps, SizeIs(2));  // prompts of 4 and 3 tokens
  EXPECT_THAT(steps[0].target->axis(1).ToVector(), ElementsAre(1, 3));
  EXPECT_THAT(steps[1].target->axis(1).ToVector(), ElementsAre(1, 2));
  EXPECT_THAT(steps[0].target->axis(2).ToVector(), ElementsAre(0, 1));
  EXPECT_THAT(*steps[0].pairs, ElementsAre(AttentionPair{1, 1}, AttentionPair{3, 0}));
  EXPECT_THAT(*steps[1].pairs, ElementsAre(AttentionPair{1, 1}, AttentionPair{2, 0}));
}

// A request may hold millions of pairs.
TEST(Compile, KnockoutPairsAreSharedAndKeptOnce) {
  const std::string knockout =
      R"(interventions { place { site: SITE_ATTN_SCORES where { layers: [0, 1] } }
                         knockout { pairs { query: -1 key: 0 } pairs { query: 2 key: 0 }
                                    pairs { query: -1 key: 0 } } })";
  const auto plan =
      CompileOrThrow(RequestOf("prompts { token_ids { ids: [5, 6, 9] } } " + knockout));
  const std::vector<Step>& steps = plan->sites.at({0, Site::kAttnScores}).steps;
  ASSERT_THAT(steps, SizeIs(3));
  EXPECT_THAT(*steps[0].pairs, SizeIs(2));
  EXPECT_THAT(*steps[1].pairs, SizeIs(1));  // of three tokens, where both say one pair
  EXPECT_EQ(steps[1].pairs, steps[2].pairs);
  EXPECT_EQ(steps[1].target, steps[2].target);
  EXPECT_EQ(steps[0].pairs, plan->sites.at({1, Site::kAttnScores}).steps[0].pairs);
  // Of those that are said often each counts: it is looked at. 64 are a place.
  std::string many;
  for (int i = 0; i < 64; ++i)
    absl::StrAppend(&many, " pairs { query: ", i % 3 + 1, " key: ", i % 2, " }");
  const auto places = [&](int most) {
    return Compile(RequestOf("interventions { place { site: SITE_ATTN_SCORES where { layers: 0 "
                             "prompts: 0 } } knockout {" +
                             many + " } }"),
                   test::TinyFacts(), test::LimitsOf(absl::StrCat("max_places: ", most)))
        .ok();
  };
  EXPECT_TRUE(places(2));  // and one of the intervention
  EXPECT_FALSE(places(1));
}

// Whatever a step reads is in its source: nothing behind Compile asks which operation reads.
TEST(Compile, StepsSayWhatTheyRead) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      interventions { place { site: SITE_MLP_OUT where { prompts: 1 } }
                      mean { over { range { end: 2 } } } }
      interventions { place { site: SITE_MLP_OUT where { prompts: 1 } }
                      patch { prompt: 0 layer: -3 positions { range { end: 3 } } } }
      interventions { place { site: SITE_MLP_OUT where { prompts: 1 } } zero {} })"));
  const std::vector<Step>& steps = plan->sites.at({2, Site::kMlpOut}).steps;
  ASSERT_THAT(steps, SizeIs(3));
  EXPECT_EQ(steps[0].source->row, 1);
  EXPECT_EQ(steps[0].source->layer, 2);
  EXPECT_THAT(steps[0].source->region->shape(), ElementsAre(2, 12));
  EXPECT_EQ(steps[1].source->row, 0);
  EXPECT_EQ(steps[1].source->layer, 0);
  EXPECT_FALSE(steps[2].source.has_value());
}

// Whole outputs are observations like others: they are there before captures, batch by batch, and
// rows that are not sent back are in none.
TEST(Compile, WholeOutputsAreObservations) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      prompts { token_ids { ids: [8, 9, 10] } }
      probes { place { site: SITE_RESID_POST where { layers: 1 prompts: 0 } }
               statistics: STATISTIC_COSINE }
      captures { place { site: SITE_RESID_POST where { layers: 1 prompts: 0 } } }
      block_outputs { layers: 1 dtype: DATA_TYPE_FLOAT16 }
      output_attentions: true output_hidden_states: true)"));
  const std::vector<Observation>& post = plan->sites.at({1, Site::kResidPost}).after;
  ASSERT_THAT(post, SizeIs(2 * 2 + 2));
  const auto tensor = [&](size_t i) { return plan->tensors[post[i].index]; };
  EXPECT_THAT(post[0].rows, ElementsAre(1, 2));
  EXPECT_THAT(post[0].region->shape(), ElementsAre(3, 12));
  EXPECT_EQ(tensor(0).header.name(), "block_outputs[1][0]");
  EXPECT_EQ(tensor(0).tuple_element, 0);
  EXPECT_EQ(tensor(0).dtype, v1::DATA_TYPE_FLOAT16);
  EXPECT_EQ(post[1].region, post[0].region);
  EXPECT_EQ(tensor(1).header.name(), "hidden_states[2]");
  EXPECT_THAT(post[2].rows, ElementsAre(0));
  EXPECT_EQ(post[4].kind, Observation::Kind::kProbe);
  EXPECT_EQ(tensor(5).header.kind(), v1::TENSOR_KIND_CAPTURE);
  EXPECT_FALSE(tensor(5).batched);
  EXPECT_THAT(plan->sites.at({1, Site::kPattern}).after[0].region->shape(), ElementsAre(3, 3, 3));
  EXPECT_THAT(plan->sites.at({0, Site::kResidPre}).before, SizeIs(2));
  EXPECT_THAT(plan->sites.at({kNoLayer, Site::kLnFOut}).after, SizeIs(2));
  EXPECT_FALSE(plan->sites.contains({2, Site::kResidPost}));  // it is in no tuple, and no entry
}

// Regions are immutable, and most prompts of a request select alike.
TEST(Compile, PromptsShareTheirRegions) {
  const auto plan = CompileOrThrow(RequestOf(R"(
      prompts { token_ids { ids: [5, 6, 9] } }
      probes { place { site: SITE_MLP_POST where { layers: 0 units { indices { values: [9, 2, 4] } } } }
               statistics: STATISTIC_MEAN }
      captures { place { site: SITE_MLP_OUT where { layers: 0 prompts: [1, 2]
          positions { tokens { ids: [5, 9] } } units { indices { values: [9, 2, 4] } } } } })"));
  const std::vector<Observation>& probes = plan->sites.at({0, Site::kMlpPost}).after;
  EXPECT_EQ(probes[1].region, probes[2].region);
  EXPECT_NE(probes[0].region, probes[1].region);  // another length, but the same list of units
  EXPECT_THAT(probes[0].region->axis(1).ToVector(), ElementsAre(2, 4, 9));
  EXPECT_EQ(probes[0].region->axis(1).list(), probes[1].region->axis(1).list());
  const std::vector<Observation>& captures = plan->sites.at({0, Site::kMlpOut}).after;
  EXPECT_THAT(captures[0].region->axis(0).ToVector(), ElementsAre(0));
  EXPECT_THAT(captures[1].region->axis(0).ToVector(), ElementsAre(0, 2));
  EXPECT_EQ(captures[0].region->axis(1).list(), captures[1].region->axis(1).list());
}

TEST(Compile, TensorsOfEveryTypeAreDecoded) {
  const auto operand = [](const std::string& tensor) {
    const auto plan = CompileOrThrow(
        RequestOf(absl::StrCat("allow_non_finite: true interventions { place { site: SITE_LN1_OUT "
                               "where { units { range { end: 2 } } } } add { tensor { ",
                               tensor, " } } }")));
    return plan->edits[0].operand;
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

TEST(Compile, DigestsOfDifferentRequestsDiffer) {
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
