// What a sweep means, and what is refused, by field path.

#include "server/spec/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "proto/google/rpc/error_details.pb.h"
#include "tests/unit/support/letters.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::spec {
namespace {

using model::Site;
using test::CompileSweepOrThrow;
using test::SweepOf;
using test::TinyFacts;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kKl[] = " metrics { kl_from_clean {} }";
constexpr char kTwoVariants[] = R"(
    variants { variants { interventions { place { site: SITE_Z } zero {} } }
               variants { name: "clean" } })";
constexpr char kHeadGrid[] = R"(
    grid { interventions { place { site: SITE_Z } zero {} } axes { layers {} } axes { heads {} } })";

// ---- what a sweep means -------------------------------------------------------------------------

TEST(CompileSweep, FillsInEveryDefault) {
  const auto sweep = CompileSweepOrThrow(SweepOf(R"(
      grid { interventions { place { path: "resid_pre" } patch { clean_prompt: 2 } }
             interventions { place { site: SITE_MLP_OUT where { layers: 1 } } scale {} }
             axes { interventions: 0 layers {} } axes { positions { values: [-1, 0] } interventions: 0 }
             axes { interventions: 1 values { values: [0, 0.5] } name: "factor" } }
      metrics { logit_diff { targets: 1 distractors: [2, 3] } }
      metrics { loss {} }
      metrics { name: "score" position: -2
                patching_score { targets: 1 distractors: 2 sources: 0 } }
      probes { place { path: "blocks.2.hook_resid_post" } statistics: STATISTIC_STD })"));
  const v1::SweepRequest& normalized = sweep->started().normalized();
  EXPECT_EQ(normalized.model(), "tiny");
  EXPECT_EQ(normalized.grid().DebugString(), test::FromText<v1::Grid>(R"(
      interventions { place { path: "resid_pre" } patch { clean_prompt: 2 } }
      interventions { place { site: SITE_MLP_OUT where { layers: 1 } } scale {} }
      axes { name: "layer" interventions: 0 layers { values: [0, 1, 2] } }
      axes { name: "position" interventions: 0 positions { values: [-1, 0] } }
      axes { name: "factor" interventions: 1 values { values: [0, 0.5] } })")
                                                 .DebugString());
  EXPECT_EQ(normalized.metrics(0).name(), "logit_diff[0]");
  EXPECT_EQ(normalized.metrics(0).position(), -1);
  EXPECT_FALSE(normalized.metrics(1).has_position());
  EXPECT_THAT(normalized.metrics(2).patching_score().sources(), ElementsAre(0));
  EXPECT_EQ(normalized.probes(0).name(), "resid_post[0]");
  EXPECT_THAT(normalized.probes(0).place().where().prompts(), ElementsAre(0, 1));
  EXPECT_EQ(sweep->started().variants(), 12);
  ASSERT_THAT(sweep->started().axes(), SizeIs(3));
  EXPECT_THAT(sweep->started().axes(1).labels(), ElementsAre("-1", "0"));
  EXPECT_THAT(sweep->started().axes(2).labels(), ElementsAre("0", "0.5"));
  EXPECT_THAT(sweep->started().prompts(), SizeIs(3));
}

TEST(CompileSweep, AScoreTakesSourceIForPromptI) {
  v1::SweepRequest request = SweepOf(std::string(kTwoVariants) +
                                     "sources { token_ids { ids: 9 } }"
                                     "metrics { patching_score { targets: 1 distractors: 2 } }");
  EXPECT_THAT(CompileSweepOrThrow(request)->request().metrics(0).patching_score().sources(),
              ElementsAre(0, 1));
}

TEST(CompileSweep, TheBasePlanIsTheCleanRunOfEveryPromptAndSource) {
  const auto sweep = CompileSweepOrThrow(SweepOf(std::string(kTwoVariants) + R"(
      metrics { position: 1 kl_from_clean {} } metrics { logits { ids: 3 } }
      probes { place { site: SITE_Z where { layers: 1 } } statistics: STATISTIC_COSINE })"));
  const Plan& base = *sweep->base();
  ASSERT_THAT(base.rows, SizeIs(3));
  for (int32_t row = 0; row < 3; ++row) {
    EXPECT_EQ(base.rows[row].prompt, row);
    EXPECT_TRUE(base.rows[row].clean);
  }
  EXPECT_THAT(base.tokens[2], ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(base.logit_positions,
              ElementsAre(ElementsAre(1, 3), ElementsAre(1, 2), ElementsAre(1, 3)));
  const auto& probes = base.sites.at({1, Site::kZ}).after;
  ASSERT_THAT(probes, SizeIs(2));  // no source is probed
  EXPECT_EQ(probes[1].rows[0], 1);
  EXPECT_EQ(probes[1].clean_row, 1);
}

TEST(CompileSweep, AVariantHasOnlyTheCleanRowsThatItReads) {
  const auto sweep = CompileSweepOrThrow(SweepOf(R"(variants {
      variants { interventions { place { site: SITE_Z } zero {} } }
      variants { interventions { place { site: SITE_Z where { prompts: 0 } }
                                 patch { clean_prompt: 2 } } } })" +
                                                 std::string(kKl)));
  const auto zero = sweep->VariantPlan(0), patch = sweep->VariantPlan(1);
  EXPECT_THAT(zero->rows, SizeIs(2));
  ASSERT_THAT(patch->rows, SizeIs(3));
  EXPECT_EQ(patch->rows[2].prompt, 2);
  EXPECT_TRUE(patch->rows[2].clean);
  EXPECT_THAT(patch->tokens[2], ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(patch->logit_positions, ElementsAre(ElementsAre(3), ElementsAre(2), IsEmpty()));
  EXPECT_EQ(patch->sites.at({0, Site::kZ}).steps[0].source->row, 2);
  EXPECT_EQ(sweep->started().cost().rows(), 3 + 2 + 2);
  EXPECT_EQ(sweep->VariantName(1), "variants[1]");
}

// Statistics against the clean run bring its row along; the numbering of the others stays.
TEST(CompileSweep, ProbesAndPatchesShareCleanRows) {
  const auto sweep = CompileSweepOrThrow(SweepOf(R"(variants {
      variants { interventions { place { site: SITE_Z where { prompts: 0
                                                               positions { range { end: 3 } } } }
                                 patch { clean_prompt: 1 } }
                 interventions { place { site: SITE_MLP_OUT where { prompts: 0 } }
                                 patch { clean_prompt: 2 } } } }
      probes { place { site: SITE_Z where { prompts: 1 } } statistics: STATISTIC_RELATIVE_L2 })"));
  const auto plan = sweep->VariantPlan(0);
  ASSERT_THAT(plan->rows, SizeIs(4));
  EXPECT_EQ(plan->rows[2].prompt, 1);
  EXPECT_EQ(plan->rows[3].prompt, 2);
  EXPECT_EQ(plan->sites.at({0, Site::kZ}).after[0].clean_row, 2);
  EXPECT_EQ(plan->sites.at({0, Site::kZ}).steps[0].source->row, 2);
}

TEST(CompileSweep, ACellIsTheTemplateWithTheAxesValues) {
  const auto sweep = CompileSweepOrThrow(SweepOf(R"(
      grid { interventions { place { site: SITE_Z } add { } }
             axes { layers { values: [2, 0] } } axes { heads { values: 1 } }
             axes { positions { values: [-1, 1] } } axes { values { values: [3, 4] } }
             axes { directions { shape: [2, 4] values: [1, 2, 3, 4, 5, 6, 7, 8] } } })" +
                                                 std::string(kKl)));
  ASSERT_EQ(sweep->variants(), 16);
  const int32_t cell = 1 * 8 + 0 * 4 + 1 * 2 + 1;  // the last axis is the fastest
  EXPECT_THAT(sweep->Coordinates(cell), ElementsAre(1, 0, 0, 1, 1));
  EXPECT_EQ(sweep->VariantName(cell), "");
  const auto plan = sweep->VariantPlan(cell);
  EXPECT_EQ(plan->edits[0].name, "add[0]");
  EXPECT_EQ(plan->edits[0].intervention.DebugString(),
            test::FromText<v1::Intervention>("add { coefficient: 4 }").DebugString());
  ASSERT_THAT(plan->sites, SizeIs(1));
  const std::vector<Step>& steps = plan->sites.at({0, Site::kZ}).steps;
  ASSERT_THAT(steps, SizeIs(2));  // prompts of 4 and 3 tokens
  EXPECT_THAT(steps[0].target->axis(0).ToVector(), ElementsAre(3));
  EXPECT_THAT(steps[1].target->axis(0).ToVector(), ElementsAre(2));
  EXPECT_THAT(steps[0].target->axis(1).ToVector(), ElementsAre(1));
  EXPECT_EQ(plan->edits[0].operand[3].item<float>(), 8);
}

TEST(CompileSweep, EveryNumberAndDirectionCanBeAnAxis) {
  for (const std::string operation : {"scale {}", "add { constant: 1 }", "set {}", "noise {}",
                                      "project_out { direction { values: [1, 1, 1, 1] } }"}) {
    const auto sweep = CompileSweepOrThrow(
        SweepOf(absl::StrCat("grid { interventions { place { site: SITE_Z } ", operation,
                             " } axes { values { values: [7, 8] } } }", kKl)));
    EXPECT_THAT(sweep->VariantPlan(1)->edits[0].intervention.ShortDebugString(), HasSubstr("8"));
  }
  for (const std::string operation : {"add {}", "project_out {}"}) {
    const auto sweep = CompileSweepOrThrow(SweepOf(absl::StrCat(
        "grid { interventions { place { site: SITE_Z } ", operation,
        " } axes { directions { shape: [2, 4] values: [1, 2, 3, 4, 5, 6, 7, 9] } } }", kKl)));
    EXPECT_EQ(sweep->VariantPlan(1)->edits[0].operand[3].item<float>(), 9);
  }
}

TEST(CompileSweep, DigestsOfDifferentSweepsDiffer) {
  std::set<std::string> digests;
  for (const std::string text : {kTwoVariants, kHeadGrid}) {
    for (const std::string more : {"", "seed: 1"}) {
      const auto sweep = CompileSweepOrThrow(SweepOf(text + kKl + more));
      digests.insert(sweep->started().digest());
      for (const std::string same : {"", " validate_only: true"}) {
        EXPECT_EQ(CompileSweepOrThrow(SweepOf(text + kKl + more + same))->started().digest(),
                  sweep->started().digest());
      }
    }
  }
  EXPECT_THAT(digests, SizeIs(4));
}

// ---- what is refused ----------------------------------------------------------------------------

struct Refusal {
  std::string request;  // beside prompts of 4 and 3 tokens, and a source of 4
  std::string field;
  std::string words;
};

absl::Status StatusOf(const std::string& text, const Limits& limits = Limits()) {
  return CompileSweep(SweepOf(text), TinyFacts(), limits).status();
}

google::rpc::BadRequest ViolationsOf(const absl::Status& status) {
  google::rpc::BadRequest bad;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
  EXPECT_TRUE(payload && bad.ParseFromString(std::string(*payload))) << status;
  return bad;
}

void ExpectRefused(const std::vector<Refusal>& refusals, const Limits& limits = Limits()) {
  for (const Refusal& refusal : refusals) {
    const absl::Status status = StatusOf(refusal.request, limits);
    ASSERT_TRUE(absl::IsInvalidArgument(status)) << refusal.request << "\n" << status;
    const google::rpc::BadRequest bad = ViolationsOf(status);
    ASSERT_THAT(bad.field_violations(), SizeIs(1)) << refusal.request << "\n" << status;
    EXPECT_EQ(bad.field_violations(0).field(), refusal.field) << refusal.request;
    EXPECT_THAT(bad.field_violations(0).description(), HasSubstr(refusal.words)) << refusal.request;
  }
}

TEST(CompileSweep, RefusesMissingFields) {
  ExpectRefused({
      {kKl, "variants", "give `variants` or `grid`"},
      {std::string(kTwoVariants), "metrics", "`probes` or `reports`"},
      {"variants {}" + std::string(kKl), "variants.variants", "at least one variant"},
      {"grid { axes { layers {} } }" + std::string(kKl), "grid.interventions", "every cell"},
      {"grid { interventions { place { site: SITE_Z } zero {} } }" + std::string(kKl), "grid.axes",
       "at least one axis"},
      {kTwoVariants + std::string("metrics {}"), "metrics[0]", "`patching_score`"},
  });
  v1::SweepRequest none = SweepOf(std::string(kTwoVariants) + kKl);
  none.clear_prompts();
  EXPECT_THAT(
      ViolationsOf(CompileSweep(none, TinyFacts(), Limits()).status()).field_violations(0).field(),
      "prompts");
}

TEST(CompileSweep, NamesTheVariantsFields) {
  ExpectRefused({
      {std::string(R"(variants { variants {}
          variants { interventions { place { site: SITE_Z where { layers: 3 } } zero {} } } })") +
           kKl,
       "variants.variants[1].interventions[0].place.where.layers[0]", "3 is outside [-3, 3)"},
      {std::string(R"(variants { variants { name: "a" } variants { name: "a" } })") + kKl,
       "variants.variants[1].name", "\"a\" is taken"},
      {std::string(R"(variants { variants { interventions {
          place { site: SITE_Z where { prompts: 2 } } zero {} } } })") +
           kKl,
       "variants.variants[0].interventions[0].place.where.prompts[0]", "2 is outside [-2, 2)"},
      {std::string(R"(variants { variants { interventions {
          place { site: SITE_Z where { prompts: 0 } } patch { prompt: 2 } } } })") +
           kKl,
       "variants.variants[0].interventions[0].patch.prompt", "2 is outside [0, 2)"},
      {std::string(R"(variants { variants { interventions {
          place { site: SITE_Z where { prompts: 0 } } patch { clean_prompt: 3 } } } })") +
           kKl,
       "variants.variants[0].interventions[0].patch.clean_prompt", "3 is outside [0, 3)"},
  });
}

TEST(CompileSweep, RefusesAxesThatDoNotFit) {
  const auto grid = [](const std::string& axes,
                       const std::string& intervention = "place { site: SITE_Z } zero {}") {
    return absl::StrCat("grid { interventions { ", intervention, " } ", axes, " }", kKl);
  };
  ExpectRefused({
      {grid("axes {}"), "grid.axes[0]", "sets nothing"},
      {grid("axes { layers { values: [0, 3] } }"), "grid.axes[0].layers.values[1]",
       "3 is outside [-3, 3)"},
      {grid("axes { heads { values: [1, 1] } }"), "grid.axes[0].heads.values", "1 is named twice"},
      {grid("axes { positions { values: 4 } }"), "grid.axes[0].positions.values[0]",
       "4 is outside [-4, 4)"},
      {grid("axes { positions {} }"), "grid.axes[0].positions.values", "differ in length"},
      {grid("axes { positions { values: 3 } }"),
       "grid.interventions[0].place.where.positions.indices.values[0]",
       "3 is outside [-3, 3) (in the cell position 3)"},
      {grid("axes { values { values: 1 } }"), "grid.interventions[0]", "has no number"},
      {grid("axes { values {} }", "place { site: SITE_Z } scale {}"), "grid.axes[0].values.values",
       "is empty"},
      {grid("axes { values { values: [1, nan] } }", "place { site: SITE_Z } scale {}"),
       "grid.axes[0].values.values[1]", "not finite"},
      {grid("axes { values { values: 1 } }", "place { site: SITE_Z } scale { factor: 2 }"),
       "grid.interventions[0]", "says what grid.axes[0] sets"},
      {grid("axes { layers {} }", "place { site: SITE_Z where { layers: 1 } } zero {}"),
       "grid.interventions[0].place.where.layers", "says what grid.axes[0] sets"},
      {grid("axes { layers {} } axes { name: \"b\" layers {} }"), "grid.axes[1]",
       "what another axis sets"},
      {grid("axes { layers {} name: \"x\" } axes { name: \"x\" heads {} }"), "grid.axes[1].name",
       "taken"},
      {grid("axes { layers {} interventions: 1 }"), "grid.axes[0].interventions[0]",
       "1 is outside [-1, 1)"},
      {grid("axes { directions { shape: [1, 4] values: [1, 1, 1, 1] } }"), "grid.interventions[0]",
       "has no direction"},
      {grid("axes { directions { values: [1, 1, 1, 1] } }", "place { site: SITE_Z } add {}"),
       "grid.axes[0].directions.shape", "each row is a direction"},
      {grid("axes { directions { shape: [1, 3] values: [1, 1, 1] } }",
            "place { site: SITE_Z } add {}"),
       "grid.interventions[0].add.tensor", "does not broadcast"},
  });
}

// Every cell has the same mistake; it is told once.
TEST(CompileSweep, ReportsAMistakeOfTheTemplateOnce) {
  const absl::Status status = StatusOf(R"(
      grid { interventions { place { site: SITE_Z } patch {} }
             interventions { place { path: "nowhere" } zero {} }
             axes { layers {} interventions: 0 } })" +
                                       std::string(kKl));
  const google::rpc::BadRequest bad = ViolationsOf(status);
  ASSERT_THAT(bad.field_violations(), SizeIs(2)) << status;
  EXPECT_EQ(bad.field_violations(0).field(), "grid.interventions[0].patch");
  EXPECT_THAT(bad.field_violations(0).description(), HasSubstr("(in the cell layer 0)"));
  EXPECT_EQ(bad.field_violations(1).field(), "grid.interventions[1].place.path");
}

TEST(CompileSweep, RefusesMetricsThatDoNotFit) {
  const auto metric = [](const std::string& text) {
    return absl::StrCat(kTwoVariants, " metrics { ", text, " }");
  };
  ExpectRefused({
      {metric("position: -4 kl_from_clean {}"), "metrics[0].position",
       "-4 is outside [-3, 3) of prompts[1]"},
      {metric("logits {}"), "metrics[0].logits", "names 0 tokens"},
      {metric("ranks { ids: [1, 53] }"), "metrics[0].ranks.ids[1]", "53 is outside [0, 53)"},
      {metric("top_k {}"), "metrics[0].top_k.k", "0 is outside [1, 53]"},
      {metric("logit_diff { targets: 1 }"), "metrics[0].logit_diff.distractors", "has 0 entries"},
      {metric("logit_diff { targets: [1, 2, 3] distractors: 1 }"), "metrics[0].logit_diff.targets",
       "one for each of the 2"},
      {metric("logit_diff { targets: -1 distractors: 1 }"), "metrics[0].logit_diff.targets[0]",
       "-1 is outside"},
      {metric("logit_diff { targets: 1 target_texts: \"b\" distractors: 1 }"),
       "metrics[0].logit_diff.target_texts", "give one of them"},
      {metric("patching_score { targets: 1 distractors: 2 }"), "metrics[0].patching_score.sources",
       "2 prompts have only 1 sources"},
      {metric("patching_score { targets: 1 distractors: 2 sources: [0, 1] }"),
       "metrics[0].patching_score.sources[1]", "1 is outside [0, 1)"},
      {metric("position: 0 loss {}"), "metrics[0].position", "leave the field out"},
      {metric("loss {} } sources { token_ids { ids: 1 }"), "metrics[0].loss",
       "sources[1] has a single token"},
      {metric("name: \"a\" loss {} } metrics { name: \"a\" loss {}"), "metrics[1].name", "taken"},
  });
  const absl::Status text = StatusOf(metric("probabilities { texts: \" a\" }"));
  EXPECT_TRUE(absl::IsFailedPrecondition(text)) << text;
  EXPECT_EQ(ViolationsOf(text).field_violations(0).field(), "metrics[0].probabilities.texts");
  EXPECT_THAT(text.message(), HasSubstr("the model's folder has no tokenizer; give token ids"));
  v1::SweepRequest alone = SweepOf(metric("patching_score { targets: 1 distractors: 2 }"));
  alone.clear_sources();
  EXPECT_THAT(CompileSweep(alone, TinyFacts(), Limits()).status().message(),
              HasSubstr("metrics[0].patching_score: compares with a source"));
}

class CompileSweepText : public test::LettersTest {};

TEST_F(CompileSweepText, EachTextOfAMetricIsOneToken) {
  const auto sweep = [&](const std::string& texts) {
    return CompileSweep(
        SweepOf(absl::StrCat(kTwoVariants, " metrics { probabilities { ", texts, " } }")), facts_,
        Limits());
  };
  const auto one = sweep("texts: [\"b\", \"ab\"]");
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_THAT((*one)->request().metrics(0).probabilities().ids(), ElementsAre(1, 2));
  const absl::Status three = sweep("texts: [\"a\", \"bab\"]").status();
  EXPECT_TRUE(absl::IsInvalidArgument(three)) << three;
  EXPECT_EQ(three.message(),
            "metrics[0].probabilities.texts[1]: is 2 tokens; give a text that is one, with the "
            "space before it if it has one");
}

TEST(CompileSweep, ReportsAllViolationsAtOnce) {
  const absl::Status status = StatusOf(R"(
      sources { token_ids { ids: 99 } }
      variants { variants { interventions { place { site: SITE_Z } scale {} } }
                 variants { interventions { place { site: SITE_LN1_SCALE } zero {} } } }
      metrics { top_k {} }
      probes { place { site: SITE_Z } })");
  std::set<std::string> fields;
  const google::rpc::BadRequest bad = ViolationsOf(status);
  for (const auto& violation : bad.field_violations()) fields.insert(violation.field());
  EXPECT_THAT(fields, ElementsAre("metrics[0].top_k.k", "probes[0].statistics",
                                  "sources[1].token_ids.ids[0]",
                                  "variants.variants[0].interventions[0].scale.factor",
                                  "variants.variants[1].interventions[0].place.site"));
}

TEST(CompileSweep, EnforcesItsLimits) {
  Limits limits;
  limits->set_max_variants(5);
  limits->set_max_metrics(1);
  limits->set_max_grid_axes(1);
  limits->set_max_prompts(2);
  const std::string axes = "grid { interventions { place { site: SITE_Z } zero {} } axes ";
  ExpectRefused({{std::string(kTwoVariants) + kKl, "prompts", "has 3 entries, at most 2"}}, limits);
  limits->set_max_prompts(3);
  ExpectRefused({{std::string(kTwoVariants) + kKl + kKl, "metrics", "at most 1"},
                 {kHeadGrid + std::string(kKl), "grid.axes", "has 2 entries, at most 1"}},
                limits);
  limits->set_max_grid_axes(2);
  ExpectRefused({{kHeadGrid + std::string(kKl), "grid.axes", "have 9 cells, at most 5"}}, limits);
  limits->set_max_variants(1);
  ExpectRefused({{std::string(kTwoVariants) + kKl, "variants.variants", "has 2 entries"}}, limits);
  limits->set_max_variants(10);
  limits->set_max_sweep_places(17);
  ExpectRefused({{kHeadGrid + std::string(kKl), "grid", "more than 17 places"}}, limits);
  limits->set_max_sweep_places(18);
  EXPECT_TRUE(StatusOf(kHeadGrid + std::string(kKl), limits).ok());
  limits->set_max_tokens(10);
  ExpectRefused({{kHeadGrid + std::string(kKl), "prompts", "11 tokens in 3 rows"}}, limits);
}

TEST(CompileSweep, RefusesAResponseBeyondTheLimitBeforeItRuns) {
  Limits limits;
  const auto sweep = CompileSweepOrThrow(SweepOf(kHeadGrid + std::string(kKl)));
  const int64_t bytes = sweep->started().cost().response_bytes();
  limits->set_max_response_bytes(bytes);
  EXPECT_TRUE(StatusOf(kHeadGrid + std::string(kKl), limits).ok());
  limits->set_max_response_bytes(bytes - 1);
  const absl::Status status = StatusOf(kHeadGrid + std::string(kKl), limits);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(status.GetPayload("type.googleapis.com/google.rpc.QuotaFailure"));
  EXPECT_THAT(status.message(), HasSubstr("fewer variants"));
}

TEST(CompileSweep, RefusesAnotherModel) {
  EXPECT_TRUE(absl::IsNotFound(StatusOf("model: \"other\"" + std::string(kTwoVariants) + kKl)));
}

}  // namespace
}  // namespace scalpel::spec
