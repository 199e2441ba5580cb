// What a sweep means.

#include "server/spec/sweep.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/spec/sweep_text.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::spec {
namespace {

using model::Site;
using test::CompileSweepOrThrow;
using test::SweepOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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

}  // namespace
}  // namespace scalpel::spec
