// What interventions do to a run, and what their reports say.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "server/model/tensor.h"
#include "tests/unit/engine/capture.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::Answer;
using test::Ask;
using test::Distance;
using test::SameBits;

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

}  // namespace
}  // namespace scalpel::engine
