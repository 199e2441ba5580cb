// What a plan weighs, and what is refused for its weight.

#include "server/spec/weight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/spec/sweep.h"
#include "tests/unit/spec/refusal.h"
#include "tests/unit/support/limits.h"

namespace scalpel::spec {
namespace {

using test::CompileOrThrow;
using test::FromText;
using test::RequestOf;
using ::testing::HasSubstr;

Weight WeightOf(const std::string& text) { return CompileOrThrow(RequestOf(text))->weight; }

double SecondsOf(const std::string& text) { return WeightOf(text).observation_seconds; }

// ---- memory -------------------------------------------------------------------------------------

TEST(PlanBytes, GrowWithPlacesAndCountWhatIsSharedOnce) {
  const auto bytes = [](int prompts, const std::string& units) {
    std::string text;
    for (int i = 0; i < prompts; ++i) text += "prompts { token_ids { ids: [1, 2, 3, 4] } } ";
    for (int i = 0; i < 100; ++i)
      absl::StrAppend(&text, "probes { place { site: SITE_MLP_POST where { layers: 0 ", units,
                      " } } statistics: STATISTIC_MEAN } ");
    return WeightOf(text).plan_bytes;
  };
  const std::string list =
      "units { indices { values: [0,2,3,5,7,9,10,12,15,16,18,20,21,25,27,30,31] } }";
  const int64_t per_place = (bytes(20, list) - bytes(10, list)) / 1000;
  EXPECT_GE(per_place, static_cast<int64_t>(sizeof(Observation)));
  EXPECT_LT(per_place, 17 * 8 + static_cast<int64_t>(sizeof(Observation)));  // without a list each
  EXPECT_GE(bytes(10, list) - bytes(10, ""), 100 * 17 * 8);                  // one for each probe
}

TEST(EstimateActivationBytes, CountsTheNumbersOfTheLayerThatHasTheMost) {
  const std::string probe =
      "probes { place { site: SITE_RESID_POST where { layers: LAYERS } } keep: [AXIS_POSITION, "
      "AXIS_UNIT] histogram { bins: 1000 max: 1 } }";
  const auto bytes = [&](const std::string& layers) {
    std::string text = probe;
    return WeightOf(text.replace(text.find("LAYERS"), 6, layers)).activation_bytes;
  };
  const int64_t numbers = int64_t{7} * 12 * 1002;  // positions, units, bins and what is outside
  EXPECT_GE(bytes("[0]") - WeightOf("").activation_bytes, 3 * 8 * numbers);
  EXPECT_EQ(bytes("[0, 1, 2]"), bytes("[0]"));  // they leave when the layer is done
}

TEST(EstimateActivationBytes, GrowsWithWhatIsObserved) {
  const auto bytes = [](const std::string& text) {
    return EstimateActivationBytes(*CompileOrThrow(RequestOf(text)), test::TinyConfig());
  };
  for (const std::string site : {"LOGITS", "HEAD_RESULT"}) {
    EXPECT_GT(bytes("captures { place { site: SITE_" + site + " } }"),
              bytes("captures { place { site: SITE_Z } }"))
        << site;
  }
  EXPECT_GT(bytes("include_clean_run: true"), bytes(""));
  EXPECT_GT(
      bytes("interventions { place { site: SITE_Z where { prompts: 1 layers: 1 } } patch { prompt: "
            "0 layer: 0 "
            "positions { range { end: 3 } } } }"),
      bytes("interventions { place { site: SITE_Z where { prompts: 1 layers: 1 } } zero {} }"));
}

// ---- time ---------------------------------------------------------------------------------------

TEST(ObservationTime, GrowsWithWhatIsAsked) {
  const auto probe = [](const std::string& more) {
    return absl::StrCat("probes { place { site: SITE_PATTERN } ", more, " } ");
  };
  const std::string mean = probe("statistics: STATISTIC_MEAN");
  EXPECT_EQ(SecondsOf(""), 0);
  EXPECT_GT(SecondsOf(mean), 0);
  EXPECT_GT(SecondsOf(probe("quantiles: 0.5")), SecondsOf(mean));
  EXPECT_GT(SecondsOf(probe("quantiles: [0.1, 0.5, 0.9]")), SecondsOf(probe("quantiles: 0.5")));
  EXPECT_GT(SecondsOf(probe("histogram { bins: 9 max: 1 }")), SecondsOf(mean));
  EXPECT_GT(SecondsOf(probe("statistics: STATISTIC_MEAN keep: AXIS_QUERY")), SecondsOf(mean));
  EXPECT_DOUBLE_EQ(SecondsOf(mean + mean), 2 * SecondsOf(mean));
  EXPECT_GT(SecondsOf("captures { place { site: SITE_PATTERN } }"), 0);
  EXPECT_GT(SecondsOf("output_hidden_states: true"), 0);
  const auto edit = [](const std::string& operation) {
    return SecondsOf("interventions { place { site: SITE_Z } " + operation + " }");
  };
  EXPECT_GT(edit("noise {}"), edit("zero {}"));
  EXPECT_GT(edit("mean {}"), edit("zero {}"));  // it reads besides
}

TEST(ObservationTime, IsTheTimeOfSoManyPositions) {
  const std::string probes =
      "probes { place { site: SITE_PATTERN } quantiles: [0.1, 0.2, 0.3, 0.4, 0.5] } ";
  const Weight weight = WeightOf(probes);
  EXPECT_GT(weight.observation_positions, 0);
  EXPECT_EQ(weight.observation_positions,  // the tiny model's positions take the least that counts
            static_cast<int64_t>(weight.observation_seconds / kPositionSecondsMin));
}

// A model with long prompts and many heads; it needs no weights to be asked.
const ModelFacts& LongFacts() {
  static const auto* facts = [] {
    auto* made = new ModelFacts{.name = "tiny",
                                .config = test::TinyConfig(),
                                .tokenizer = std::nullopt,
                                .weights_sha256 = ""};
    made->config.n_ctx = 1024;
    made->config.n_head = 12;
    made->config.d_model = 48;
    return made;
  }();
  return *facts;
}

std::string LongPrompt() {
  std::string ids = "1";
  for (int i = 1; i < 1024; ++i) ids += ", 1";
  return "prompts { token_ids { ids: [" + ids + "] } } ";
}

std::string Repeated(int times, const std::string& text) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(CheckWeight, ObservationsThatTakeTooLongAreAQuotaOfTheHeaviest) {
  const std::string mean =
      "probes { place { site: SITE_PATTERN where { layers: 0 } } statistics: STATISTIC_MEAN } ";
  const std::string quantiles =
      "probes { place { site: SITE_PATTERN where { layers: 0 } } quantiles: [0.1, 0.5, 0.9] } ";
  const auto status = [&](int count) {
    return Compile(FromText<v1::RunRequest>(LongPrompt() + mean + Repeated(count, quantiles)),
                   LongFacts(), Limits())
        .status();
  };
  EXPECT_TRUE(status(20).ok()) << status(20);
  EXPECT_EQ(status(100).code(), absl::StatusCode::kResourceExhausted);
  const auto quota = DetailOf<google::rpc::QuotaFailure>(status(100));
  ASSERT_EQ(quota.violations_size(), 1);
  EXPECT_EQ(quota.violations(0).subject(), "probes[1]");
  EXPECT_THAT(quota.violations(0).description(), HasSubstr("at most 10 are allowed"));
  EXPECT_THAT(quota.violations(0).description(), HasSubstr("ask for fewer quantiles"));
}

TEST(CheckWeight, CostsSayWhatTheLimitsLookAt) {
  const auto request = FromText<v1::RunRequest>(
      LongPrompt() + Repeated(20, "probes { place { site: SITE_PATTERN } quantiles: [0.1] } "));
  const auto compile = [&](const std::string& limits) {
    return Compile(request, LongFacts(), test::LimitsOf(limits));
  };
  const auto plan = compile("max_observation_seconds: 86400");
  ASSERT_TRUE(plan.ok()) << plan.status();
  const v1::Cost& cost = (*plan)->started.cost();
  EXPECT_GT(cost.observation_seconds(), 1);
  EXPECT_GT(cost.activation_bytes(), 0);
  const auto seconds = static_cast<int>(cost.observation_seconds());
  EXPECT_TRUE(compile(absl::StrCat("max_observation_seconds: ", seconds + 1)).ok());
  EXPECT_FALSE(compile(absl::StrCat("max_observation_seconds: ", seconds)).ok());
}

TEST(CheckWeight, AVariantsFieldHasItsPath) {
  const std::string noise =
      "interventions { place { site: SITE_PATTERN where { layers: 1 } } noise {} } ";
  const auto status = [&](int count) {
    return CompileSweep(FromText<v1::SweepRequest>(
                            LongPrompt() + "metrics { kl_from_clean {} } variants { variants { " +
                            noise + "} variants { " + Repeated(count, noise) + "} }"),
                        LongFacts(), Limits())
        .status();
  };
  EXPECT_TRUE(status(10).ok()) << status(10);
  const auto quota = DetailOf<google::rpc::QuotaFailure>(status(60));
  ASSERT_EQ(quota.violations_size(), 1);
  EXPECT_EQ(quota.violations(0).subject(), "variants.variants[1].interventions[0]");
}

TEST(CheckWeight, ThePlansOwnBytesCount) {
  const v1::RunRequest request = RequestOf("probes { place { site: SITE_Z } quantiles: 0.5 }");
  const Weight weight = CompileOrThrow(request)->weight;
  const int64_t bytes = weight.plan_bytes + weight.activation_bytes;
  EXPECT_TRUE(Compile(request, test::TinyFacts(),
                      test::LimitsOf(absl::StrCat("max_activation_bytes: ", bytes)))
                  .ok());
  EXPECT_EQ(Compile(request, test::TinyFacts(),
                    test::LimitsOf(absl::StrCat("max_activation_bytes: ", bytes - 1)))
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace scalpel::spec
