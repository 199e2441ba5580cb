// What one run sends back: captures, probes, the clean run and logits.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/model/tensor.h"
#include "tests/unit/engine/capture.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using model::kNoLayer;
using test::Answer;
using test::Ask;
using test::SameBits;
using ::testing::ElementsAre;

TEST(Run, ObservesBeforeOrAfterEdits) {
  const Answer answer =
      Ask("interventions { place { site: SITE_MLP_PRE } add { constant: 2 } }" +
          Capture("before", "MLP_PRE", "moment: MOMENT_BEFORE") + Capture("after", "MLP_PRE"));
  EXPECT_TRUE(SameBits(answer.Tensor("after", 0, 0), answer.Tensor("before", 0, 0) + 2));
}

TEST(Run, CapturesAreRoundedToTheRequestedType) {
  const Answer answer = Ask(Capture("f32", "Z") + Capture("f16", "Z", "dtype: DATA_TYPE_FLOAT16") +
                            Capture("bf16", "Z", "dtype: DATA_TYPE_BFLOAT16"));
  const at::Tensor exact = answer.Tensor("f32", 1, 2);
  EXPECT_TRUE(SameBits(answer.Tensor("f16", 1, 2), exact.to(at::kHalf)));
  EXPECT_TRUE(SameBits(answer.Tensor("bf16", 1, 2), exact.to(at::kBFloat16)));
}

TEST(Run, CapturesHoldTheSelectedPart) {
  const Answer answer = Ask(Capture("all", "PATTERN") +
                            "captures { name: \"part\" place { site: SITE_PATTERN where { heads: "
                            "[0, 2] positions { indices { values: -1 } } "
                            "key_positions { range { end: 2 } } } } }");
  const at::Tensor all = answer.Tensor("all", 0, 1);
  EXPECT_TRUE(SameBits(answer.Tensor("part", 0, 1),
                       at::stack({all[0][3], all[2][3]}).narrow(1, 0, 2).unsqueeze(1)));
}

TEST(Run, BlockOutputsAndHiddenStatesAreTheResidualStream) {
  const Answer answer = Ask(
      "prompts { token_ids { ids: [8, 9, 10] } } output_attentions: true output_hidden_states: "
      "true "
      "interventions { place { site: SITE_RESID_POST where { layers: 1 } } scale { factor: 0.1 } }"
      "interventions { place { site: SITE_LN_F_OUT } scale { factor: 2 } }" +
      Capture("post", "RESID_POST") + Capture("pattern", "PATTERN") + Capture("pre", "RESID_PRE") +
      Capture("final", "LN_F_OUT"));
  for (const int prompt : {0, 1, 2}) {
    for (const int layer : {0, 1, 2}) {
      EXPECT_TRUE(
          SameBits(answer.Tensor(absl::StrCat("block_outputs[", layer, "][0]"), prompt, layer),
                   answer.Tensor("post", prompt, layer)));
      EXPECT_TRUE(
          SameBits(answer.Tensor(absl::StrCat("block_outputs[", layer, "][1]"), prompt, layer),
                   answer.Tensor("pattern", prompt, layer)));
    }
    EXPECT_TRUE(
        SameBits(answer.Tensor("hidden_states[0]", prompt), answer.Tensor("pre", prompt, 0)));
    EXPECT_TRUE(
        SameBits(answer.Tensor("hidden_states[1]", prompt), answer.Tensor("post", prompt, 0)));
    EXPECT_TRUE(
        SameBits(answer.Tensor("hidden_states[2]", prompt), answer.Tensor("post", prompt, 1)));
    EXPECT_TRUE(
        SameBits(answer.Tensor("hidden_states[3]", prompt), answer.Tensor("final", prompt)));
  }
}

TEST(Run, TheCleanRunEqualsARunWithoutInterventions) {
  const std::string looks =
      Capture("x", "RESID_POST") +
      "probes { name: \"p\" place { site: SITE_Z } statistics: STATISTIC_STD }"
      "logits { full {} }";
  const Answer both =
                   Ask("include_clean_run: true interventions { place { site: SITE_Z } zero {} }" +
                       looks),
               clean = Ask(looks);
  for (const int prompt : {0, 1}) {
    EXPECT_TRUE(
        SameBits(both.Tensor("x", prompt, 2, /*clean=*/true), clean.Tensor("x", prompt, 2)));
    EXPECT_TRUE(
        SameBits(both.Tensor("logits", prompt, kNoLayer, true), clean.Tensor("logits", prompt)));
    EXPECT_FALSE(SameBits(both.Tensor("logits", prompt), clean.Tensor("logits", prompt)));
    EXPECT_EQ(both.Probe("p", prompt, 1, true).statistics(0).values(0),
              clean.Probe("p", prompt, 1).statistics(0).values(0));
    EXPECT_EQ(both.Probe("p", prompt, 1).statistics(0).values(0), 0);
  }
}

TEST(Run, StatisticsAgainstTheCleanRun) {
  const Answer answer = Ask(
      "interventions { place { site: SITE_RESID_POST where { layers: 1 } } scale { factor: 3 } }"
      "probes { name: \"p\" place { site: SITE_RESID_POST } statistics: [STATISTIC_RELATIVE_L2, "
      "STATISTIC_COSINE] }");
  EXPECT_EQ(answer.Probe("p", 0, 0).statistics(0).values(0), 0);
  EXPECT_NEAR(answer.Probe("p", 0, 1).statistics(0).values(0), 2, 1e-6);
  EXPECT_NEAR(answer.Probe("p", 0, 1).statistics(1).values(0), 1, 1e-6);
  EXPECT_GT(answer.Probe("p", 0, 2).statistics(0).values(0), 0.1);
}

// Of the first position of the first prompt.
std::vector<int> IdsOf(const Answer& answer) {
  const v1::Logits logits = answer.Logits(0);
  std::vector<int> ids;
  for (const v1::TokenLogit& token : logits.positions(0).tokens()) ids.push_back(token.token_id());
  return ids;
}

TEST(Run, TopLogitsAreTheLargestWithTheirProbabilities) {
  const Answer top = Ask("logits { top_k { k: 53 } positions { indices { values: [0, -1] } } }");
  const at::Tensor full =
      Ask("logits { full {} positions { indices { values: [0, -1] } } }").Tensor("logits");
  const v1::Logits logits = top.Logits(0);
  ASSERT_EQ(logits.positions_size(), 2);
  EXPECT_EQ(logits.positions(1).position(), 3);
  for (int i = 0; i < 2; ++i) {
    double total = 0;
    for (int rank = 0; rank < 53; ++rank) {
      const v1::TokenLogit& token = logits.positions(i).tokens(rank);
      EXPECT_EQ(token.logit(), full[i][token.token_id()].item<float>());
      EXPECT_LE(token.logit(), logits.positions(i).tokens(std::max(rank - 1, 0)).logit());
      total += std::exp(token.log_prob());
    }
    EXPECT_NEAR(total, 1, 1e-5);
  }
  EXPECT_THAT(IdsOf(Ask("logits { ids { ids: [5, 52, 5] } }")), ElementsAre(5, 52, 5));
}

TEST(Run, EqualLogitsAreOrderedById) {
  std::vector<int> ascending(53);
  std::iota(ascending.begin(), ascending.end(), 0);
  EXPECT_EQ(IdsOf(Ask("interventions { place { site: SITE_LOGITS } zero {} }"
                      "logits { top_k { k: 53 } }")),
            ascending);
}

// A number beyond float32's range is an infinity, wherever a request may say one: what ATen throws
// of it would fail every request of the pass.
TEST(Run, NumbersBeyondFloat32AreInfinities) {
  for (const std::string operation :
       {"set { constant: 1e308 }", "set { constant: -1e308 }", "scale { factor: 1e308 }",
        "add { constant: 1e308 }", "add { constant: 1 coefficient: 1e308 }",
        "add { tensor { values: 1 } coefficient: 1e308 }", "clamp { min: 1e308 }",
        "clamp { max: -1e308 }", "noise { mean: 1e308 }", "noise { std: 1e308 }",
        "project_out { factor: 1e308 direction { values: [1,0,0,0,0,0,0,0,0,0,0,0] } }"}) {
    const Answer answer =
        Ask("interventions { place { site: SITE_RESID_POST where { layers: 2 } } " + operation +
            " } allow_non_finite: true captures { name: \"x\" place { site: SITE_RESID_POST where "
            "{ layers: 2 } } }");
    EXPECT_TRUE(answer.Tensor("x", 0, 2).isinf().any().item<bool>()) << operation;
  }
}

TEST(Run, ANaNLogitLeavesNoOrder) {
  const auto answer = Ask(
      "interventions { place { site: SITE_LOGITS where { units { indices { values: 4 } } } } set { "
      "constant: nan } } allow_non_finite: true logits { top_k { k: 3 } }");
  EXPECT_THAT(IdsOf(answer), ElementsAre(-1, -1, -1));
  const v1::Logits logits = answer.Logits(0);
  for (const v1::TokenLogit& token : logits.positions(0).tokens()) {
    EXPECT_TRUE(std::isnan(token.logit()));
    EXPECT_TRUE(std::isnan(token.log_prob()));
    EXPECT_EQ(token.token(), "");
  }
}

}  // namespace
}  // namespace scalpel::engine
