// What CompileSweep refuses, by field path.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/spec/sweep.h"
#include "tests/unit/spec/sweep_text.h"
#include "tests/unit/support/letters.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::spec {
namespace {

using test::CompileSweepOrThrow;
using test::SweepOf;
using test::TinyFacts;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

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

// Each cell has few places, and a list that is checked again.
TEST(CompileSweep, RefusesAGridWhoseCellsTakeLongToCheck) {
  std::string pairs;
  for (int i = 0; i < 1000; ++i) pairs += "pairs { query: 1 key: 1 } ";
  const auto with = [&](const std::string& list) {
    return "grid { interventions { place { site: SITE_Z } scale {} } interventions { place { site: "
           "SITE_ATTN_SCORES where { layers: 0 heads: 0 } } knockout { " +
           list + "} } axes { interventions: 0 values { values: [1, 2, 3] } } }" + kKl;
  };
  Limits limits;
  limits->set_max_sweep_places(100);
  EXPECT_TRUE(StatusOf(with("pairs { query: 1 key: 1 } "), limits).ok());
  ExpectRefused({{with(pairs), "grid", "repeats long lists or tensors in too many variants"}},
                limits);
  limits->set_max_sweep_places(10000);
  EXPECT_TRUE(StatusOf(with(pairs), limits).ok());
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
