// What one run sends back: the laws of the contract, first at chosen requests, then at random ones.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "absl/strings/str_cat.h"
#include "server/model/tensor.h"
#include "tests/unit/support/random_spec.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using model::kNoLayer;
using test::Answer;
using test::Ask;
using test::Distance;
using test::SameBits;
using ::testing::ElementsAre;

// The same request twice says the same, but for the names of what it is asked.
void ExpectSameLogits(const std::string& a, const std::string& b) {
  const std::string full = " logits { full {} positions { range {} } }";
  const Answer left = Ask(a + full), right = Ask(b + full);
  for (const int prompt : {0, 1}) {
    EXPECT_TRUE(SameBits(left.Tensor("logits", prompt), right.Tensor("logits", prompt)))
        << a << "\n"
        << b;
  }
}

std::string Capture(const std::string& name, const std::string& site,
                    const std::string& more = "") {
  return absl::StrCat(" captures { name: \"", name, "\" place { site: SITE_", site, " } ", more,
                      " }");
}

// ---- what interventions do ----------------------------------------------------------------------

TEST(Run, TheKeysOfAHeadAreColumnsOfQkv) {
  // K of head 2 is columns 12 + 2 * 4 .. 12 + 3 * 4.
  ExpectSameLogits("interventions { place { site: SITE_K where { heads: 2 layers: 1 } } zero {} }",
                   "interventions { place { site: SITE_QKV where { layers: 1 units { range { "
                   "start: 20 end: 24 } } } } zero {} }");
}

TEST(Run, EditsThatShareStorageApplyInTheRequestsOrder) {
  const std::string k = "interventions { place { site: SITE_K } set { constant: 1 } } ";
  const std::string qkv = "interventions { place { site: SITE_QKV } scale { factor: 2 } } ";
  const Answer k_first = Ask(k + qkv + Capture("k", "K")),
               qkv_first = Ask(qkv + k + Capture("k", "K"));
  EXPECT_EQ(k_first.Tensor("k", 0, 1).min().item<float>(), 2);
  EXPECT_EQ(qkv_first.Tensor("k", 0, 1).max().item<float>(), 1);
}

TEST(Run, ZeroedKeysAttendUniformlyAndZeroedValuesTurnTheHeadOff) {
  const Answer answer =
      Ask("interventions { place { site: SITE_K where { heads: 0 layers: 0 } } zero {} }"
          "interventions { place { site: SITE_V where { heads: 1 layers: 0 } } zero {} }" +
          Capture("pattern", "PATTERN") + Capture("result", "HEAD_RESULT"));
  const at::Tensor pattern = answer.Tensor("pattern", 0, 0);
  for (int64_t query = 0; query < 4; ++query) {
    for (int64_t key = 0; key <= query; ++key)
      EXPECT_FLOAT_EQ(pattern[0][query][key].item<float>(), 1.0f / (query + 1));
  }
  const at::Tensor result = answer.Tensor("result", 0, 0);
  EXPECT_GT(result.select(1, 0).abs().max().item<float>(), 0);
  EXPECT_EQ(result.select(1, 1).abs().max().item<float>(), 0);
}

TEST(Run, KnockoutRenormalisesAndAZeroedPatternDoesNot) {
  const std::string where =
      "where { prompts: 0 layers: 1 positions { indices { values: 3 } } key_positions { indices { "
      "values: 1 } } } ";
  const Answer knocked = Ask("interventions { place { site: SITE_ATTN_SCORES " + where +
                             "} knockout {} }" + Capture("p", "PATTERN"));
  const Answer zeroed = Ask("interventions { place { site: SITE_PATTERN " + where + "} zero {} }" +
                            Capture("p", "PATTERN"));
  const at::Tensor a = knocked.Tensor("p", 0, 1).select(1, 3),
                   b = zeroed.Tensor("p", 0, 1).select(1, 3);
  EXPECT_EQ(a.select(1, 1).abs().max().item<float>(), 0);
  EXPECT_TRUE(at::allclose(a.sum(1), at::ones({3})));
  EXPECT_LT(b.sum(1).max().item<float>(), 0.9);
}

TEST(Run, NoEditLetsATokenSeeItsFuture) {
  for (const std::string site : {"ATTN_SCORES", "PATTERN"}) {
    const Answer answer = Ask("interventions { place { site: SITE_" + site +
                              " } set { constant: 5 } }" + Capture("p", "PATTERN"));
    EXPECT_EQ(answer.Tensor("p", 0, 0).triu(1).abs().sum().item<float>(), 0) << site;
    EXPECT_EQ(answer.Report(0).elements_selected(), 3 * 3 * (10 + 6))
        << site;  // layers, heads, pairs
  }
}

TEST(Run, AnEditChangesNoEarlierLayerOrPosition) {
  const std::string captures = Capture("r", "RESID_POST") + Capture("l", "LOGITS");
  const Answer clean = Ask(captures);
  const Answer edited =
      Ask("interventions { place { site: SITE_MLP_OUT where { layers: 1 prompts: 0 positions { "
          "indices { "
          "values: 2 } } } } add { constant: 1 } }" +
          captures);
  EXPECT_TRUE(SameBits(clean.Tensor("r", 0, 0), edited.Tensor("r", 0, 0)));
  for (const int layer : {1, 2}) {
    const at::Tensor a = clean.Tensor("r", 0, layer), b = edited.Tensor("r", 0, layer);
    EXPECT_TRUE(SameBits(a.narrow(0, 0, 2), b.narrow(0, 0, 2)));
    EXPECT_GT(Distance(a[2], b[2]), 1e-3);
    EXPECT_EQ(SameBits(a[3], b[3]), layer == 1);  // the next position hears of it in the next layer
    EXPECT_TRUE(SameBits(clean.Tensor("r", 1, layer),
                         edited.Tensor("r", 1, layer)));  // nor in other prompts
  }
  EXPECT_TRUE(SameBits(clean.Tensor("l").narrow(0, 0, 2), edited.Tensor("l").narrow(0, 0, 2)));
}

TEST(Run, APatchFromTheCleanRunUndoesEarlierEdits) {
  ExpectSameLogits(
      "",
      "interventions { place { site: SITE_RESID_MID where { layers: 0 } } noise { std: 3 } }"
      "interventions { place { site: SITE_RESID_POST where { layers: 2 prompts: 0 } } patch { "
      "clean_prompt: 0 } }"
      "interventions { place { site: SITE_RESID_POST where { layers: 2 prompts: 1 } } patch { "
      "clean_prompt: 1 } }");
}

TEST(Run, APatchReadsOtherPromptsPositionsHeadsAndLayers) {
  const Answer answer =
      Ask("interventions { place { site: SITE_Z where { layers: 2 prompts: 1 heads: [0, 1] "
          "positions { indices { values: [0, 2] } } } }"
          "                patch { prompt: 0 layer: 1 heads: [1, 2] positions { indices { values: "
          "[1, 3] } } } }" +
          Capture("before", "Z", "moment: MOMENT_BEFORE") + Capture("after", "Z"));
  const at::Tensor source = answer.Tensor("after", 0, 1), before = answer.Tensor("before", 1, 2),
                   after = answer.Tensor("after", 1, 2);
  EXPECT_TRUE(SameBits(after[0].narrow(0, 0, 2), source[1].narrow(0, 1, 2)));
  EXPECT_TRUE(SameBits(after[2].narrow(0, 0, 2), source[3].narrow(0, 1, 2)));
  EXPECT_TRUE(SameBits(after[1], before[1]));
  EXPECT_TRUE(SameBits(after.select(1, 2), before.select(1, 2)));
}

TEST(Run, APatchSeesEarlierEditsOfItsSource) {
  const Answer answer =
      Ask("interventions { place { site: SITE_LN2_OUT where { layers: 0 prompts: 0 } } set { "
          "constant: 3 } }"
          "interventions { place { site: SITE_LN2_OUT where { layers: 0 prompts: 1 } } patch { "
          "prompt: 0 positions { range { end: 3 } } } }"
          "interventions { place { site: SITE_LN2_OUT where { layers: 0 prompts: 0 } } set { "
          "constant: 4 } }" +
          Capture("x", "LN2_OUT"));
  EXPECT_EQ(answer.Tensor("x", 1, 0).min().item<float>(), 3);
  EXPECT_EQ(answer.Tensor("x", 1, 0).max().item<float>(), 3);
  EXPECT_EQ(answer.Tensor("x", 0, 0).max().item<float>(), 4);
}

TEST(Run, ReportsDescribeTheChanges) {
  const Answer answer =
      Ask("interventions { name: \"off\" place { site: SITE_K where { heads: 1 units { range { "
          "end: 2 } } layers: [0, 2] } } zero {} }"
          "interventions { place { site: SITE_EMBED } scale { factor: 1 } }"
          "interventions { place { site: SITE_POS_EMBED where { units { indices { values: 3 } } "
          "prompts: 1 } } set { constant: 50 } }"
          "interventions { place { site: SITE_ATTN_SCORES where { layers: 0 prompts: 0 } } "
          "knockout { pairs { query: 3 key: 1 } "
          "pairs { query: 2 key: 0 } } }" +
          Capture("pos", "POS_EMBED", "moment: MOMENT_BEFORE"));
  const v1::InterventionReport off = answer.Report(0), same = answer.Report(1),
                               set = answer.Report(2), cut = answer.Report(3);
  EXPECT_EQ(off.name(), "off");
  EXPECT_EQ(off.sites_touched(), 4);  // two layers of two prompts
  EXPECT_EQ(off.elements_selected(), 2 * 2 * (4 + 3));
  EXPECT_EQ(off.elements_changed(), 2 * 2 * (4 + 3));
  EXPECT_GT(off.max_abs_change(), 0);
  EXPECT_EQ(same.name(), "scale[1]");
  EXPECT_EQ(same.elements_selected(), 12 * 7);
  EXPECT_EQ(same.elements_changed(), 0);
  EXPECT_EQ(same.max_abs_change(), 0);
  EXPECT_EQ(set.sites_touched(), 1);
  EXPECT_EQ(set.elements_changed(), 3);
  const at::Tensor pos = answer.Tensor("pos", 1).select(1, 3);
  EXPECT_FLOAT_EQ(set.max_abs_change(), (50 - pos).abs().max().item<float>());
  EXPECT_EQ(cut.elements_selected(), 2 * 3);  // pairs, heads
  EXPECT_EQ(cut.elements_changed(), 2 * 3);
  EXPECT_EQ(cut.max_abs_change(), 0);  // the difference is infinite
}

TEST(Run, NoiseDependsOnlyOnTheSeed) {
  const std::string noise =
      "interventions { place { site: SITE_RESID_PRE where { layers: 1 } } noise { ";
  const std::string capture = Capture("x", "RESID_PRE");
  const at::Tensor base = Ask(noise + "} }" + capture).Tensor("x", 1, 1);
  EXPECT_TRUE(SameBits(
      Ask("seed: 0 " + noise + "} } include_clean_run: true" + capture).Tensor("x", 1, 1), base));
  EXPECT_TRUE(SameBits(Ask("seed: 9 " + noise + "seed: 0 } }" + capture).Tensor("x", 1, 1), base));
  EXPECT_FALSE(SameBits(Ask("seed: 9 " + noise + "} }" + capture).Tensor("x", 1, 1), base));
  EXPECT_FALSE(SameBits(Ask(noise + "} }" + capture).Tensor("x", 0, 1).narrow(0, 0, 3), base));
}

// ---- what is sent -------------------------------------------------------------------------------

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

// ---- every request ------------------------------------------------------------------------------

constexpr int kRequests = 200;

// The request and more prompts behind it. It is normalised: what it selects stays what it was, but
// for the positions of the logits, which the others must have too.
std::shared_ptr<const spec::Plan> AmongOthers(const spec::Plan& plan, std::mt19937_64& random) {
  while (true) {
    v1::RunRequest request = plan.started.normalized();
    for (uint64_t more = 1 + random() % 3; more > 0; --more) {
      auto* ids = request.add_prompts()->mutable_token_ids();
      const size_t like = plan.tokens[random() % plan.tokens.size()].size();
      for (uint64_t length = like + random() % 3; length > 0; --length) {
        ids->add_ids(static_cast<int32_t>(random() % test::TinyConfig().vocab_size));
      }
    }
    if (auto compiled = spec::Compile(request, test::TinyFacts(), Limits()); compiled.ok())
      return *compiled;
  }
}

// The request, and everything there is to see in it.
v1::RunRequest Observed(const spec::Plan& plan) {
  v1::RunRequest request = plan.started.normalized();
  for (const spec::SiteEntry& site : spec::AllSites()) {
    for (const v1::Moment moment : {v1::MOMENT_BEFORE, v1::MOMENT_AFTER}) {
      v1::Capture* capture = request.add_captures();
      capture->set_name(absl::StrCat("everything ", site.name, " ", moment));
      capture->mutable_place()->set_site(site.site);
      capture->set_moment(moment);
      v1::Probe* probe = request.add_probes();
      probe->set_name(capture->name());
      *probe->mutable_place() = capture->place();
      probe->set_moment(moment);
      probe->add_statistics(v1::STATISTIC_COSINE);
    }
  }
  return request;
}

void ExpectSameFacts(const Answer& expected, const Answer& actual, const v1::RunRequest& request) {
  const auto facts = actual.Facts();
  for (const auto& [key, bytes] : expected.Facts()) {
    const auto found = facts.find(key);
    ASSERT_NE(found, facts.end()) << key << "\n" << request.ShortDebugString();
    ASSERT_TRUE(found->second == bytes) << key << " differs\n" << request.ShortDebugString();
  }
}

TEST(RandomRequests, AnswersDoNotDependOnCompanyOrObservation) {
  std::mt19937_64 random(20);
  int refused = 0, facts = 0;
  for (int done = 0; done < kRequests;) {
    const v1::RunRequest request = test::RandomRequest(random, test::TinyConfig());
    const auto plan = spec::Compile(request, test::TinyFacts(), Limits());
    if (!plan.ok()) {  // the generator does not foresee every empty selection
      ASSERT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
      ASSERT_LT(++refused, kRequests) << plan.status();
      continue;
    }
    ++done;
    const Answer alone = Ask(*plan);
    const int64_t room = (*plan)->started.cost().response_bytes() -
                         static_cast<int64_t>((*plan)->started.ByteSizeLong());
    ASSERT_LE(alone.WireBytes(), room) << request.ShortDebugString();
    facts += static_cast<int>(alone.Facts().size());
    ExpectSameFacts(alone, Ask(AmongOthers(**plan, random)), (*plan)->started.normalized());
    ExpectSameFacts(alone, Ask(Observed(**plan)), (*plan)->started.normalized());
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(facts, 10 * kRequests);  // the requests ask for something
}

// Where nothing but the message's frame surrounds the numbers, the bound must still hold.
TEST(RandomRequests, StayWithinTheirBoundOfBytesWithTinyAnswers) {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    absl::StrAppend(
        &text, "captures { name: \"", std::string(120, 'n'), i,
        "\" place { site: SITE_LN_F_SCALE } } ", "probes { name: \"", std::string(120, 'n'), i,
        "\" place { site: SITE_LN_F_SCALE } quantiles: 0.25 ",
        "statistics: STATISTIC_MEAN keep: AXIS_POSITION histogram { bins: 3 max: 1 } } ");
  }
  const auto plan = test::CompileOrThrow(test::RequestOf(text + "include_clean_run: true"));
  const int64_t room =
      plan->started.cost().response_bytes() - static_cast<int64_t>(plan->started.ByteSizeLong());
  EXPECT_LE(Ask(plan).WireBytes(), room);
}

}  // namespace
}  // namespace scalpel::engine
