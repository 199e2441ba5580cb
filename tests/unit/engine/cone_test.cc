// What of a plan has to be computed, seen by how many positions of it were.

#include "server/engine/cone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/engine/baseline_cache.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::Answer;
using test::Ask;
using test::SameBits;

// One prompt of six tokens, first clean, so that the cache knows it, then as `text` says. The
// answers are the same as from nothing.
class Cone : public ::testing::Test {
 protected:
  Cone() : cache_(1 << 30, static_cast<int32_t>(test::TinyConfig().n_layer)) {
    Run("1, 2, 3, 4, 5, 6", "");
  }

  Answer Run(const std::string& ids, const std::string& text) {
    const auto plan = test::CompileOrThrow(test::FromText<v1::RunRequest>(
        absl::StrCat("prompts { token_ids { ids: [", ids, "] } } ", text)));
    Answer answer = Ask(std::vector{plan}, cache_)[0];
    const auto want = Ask(plan).Facts(), got = answer.Facts();
    EXPECT_EQ(want, got) << text;
    return answer;
  }

  int64_t Computed(const std::string& text, const std::string& ids = "1, 2, 3, 4, 5, 6") {
    return Run(ids, text).events.back().message.finished().tokens_computed();
  }

  BaselineCache cache_;
};

std::string Edit(const std::string& site, const std::string& where, const std::string& operation) {
  return absl::StrCat("interventions { place { site: SITE_", site, " where { ", where, " } } ",
                      operation, " } ");
}

TEST_F(Cone, OfAKnownPromptIsTheHeadAtTheLastPosition) {
  EXPECT_EQ(Computed(""), 1);
  EXPECT_EQ(Computed("logits { full {} positions { range { start: 2 } } }"), 4);
  EXPECT_EQ(Computed("logits { none {} }"), 0);
}

TEST_F(Cone, BeginsAtTheFirstEditedPosition) {
  EXPECT_EQ(Computed(Edit("RESID_PRE", "layers: 1 positions { indices { values: 4 } }",
                          "scale { factor: 2 }")),
            2);
  EXPECT_EQ(Computed(Edit("Z", "layers: 1", "zero {}")), 6);
}

TEST_F(Cone, IsWidenedByAnEditThatReadsEarlierPositions) {
  // The mean reads positions from 1 on.
  EXPECT_EQ(Computed(Edit("MLP_OUT", "layers: 1 positions { indices { values: 4 } }",
                          "mean { over { range { start: 1 } } }")),
            5);
  EXPECT_EQ(Computed(Edit("ATTN_SCORES", "layers: 1", "knockout { pairs { query: 3 key: 0 } }")),
            3);
}

TEST_F(Cone, IsWidenedByObservation) {
  const std::string edit = Edit("Z", "layers: 1 positions { indices { values: 4 } }", "zero {}");
  EXPECT_EQ(Computed(edit + "captures { place { site: SITE_MLP_OUT where { layers: 2 positions { "
                            "indices { values: 2 } } } } }"),
            4);
  // The residual stream below the edit, and all of it before the position, is known.
  EXPECT_EQ(Computed(edit + "captures { place { site: SITE_RESID_PRE where { layers: [0, 1] } } }"),
            2);
}

TEST_F(Cone, EndsWhereAnEditChangesNoBit) {
  EXPECT_EQ(Computed(Edit("RESID_PRE", "layers: 1", "scale { factor: 1 }")), 6);
  // It was computed, but only at the head: the row left again at once.
  const Answer answer =
      Run("1, 2, 3, 4, 5, 6",
          Edit("RESID_PRE", "layers: 1", "scale { factor: 1 }") + "logits { full {} }");
  EXPECT_EQ(answer.Report(0).elements_changed(), 0);
  EXPECT_TRUE(SameBits(answer.Tensor("logits"),
                       Run("1, 2, 3, 4, 5, 6", "logits { full {} }").Tensor("logits")));
}

TEST_F(Cone, OfAKnownPrefixIsTheRest) {
  EXPECT_EQ(Computed("", "1, 2, 3, 4, 5, 6, 7, 8"), 2);
  EXPECT_EQ(Computed("", "1, 2, 3, 9"), 1);
  EXPECT_EQ(Computed("", "9, 2, 3"), 3);
  // And is known from then on.
  EXPECT_EQ(Computed("", "1, 2, 3, 4, 5, 6, 7, 8"), 1);
}

TEST_F(Cone, KeepsTheCleanLayersBelowAnEdit) {
  Run("7, 8, 9", Edit("MLP_OUT", "layers: 2", "zero {}"));
  const auto state = cache_.Find("", {7, 8, 9});
  ASSERT_NE(state, nullptr);
  EXPECT_EQ(state->depth(), 2);
  // Later requests resume there, and carry it on.
  EXPECT_EQ(Computed("", "7, 8, 9"), 3);
  EXPECT_EQ(cache_.Find("", {7, 8, 9})->depth(), 3);
  EXPECT_EQ(Computed("", "7, 8, 9"), 1);
}

TEST_F(Cone, PatchesReadCachedCleanRuns) {
  const std::string ids = "1, 2, 3, 4, 5, 6] } } prompts { token_ids { ids: [6, 5, 4, 3, 2, 1";
  const std::string patch =
      Edit("RESID_PRE", "layers: 1 prompts: 0 positions { indices { values: 3 } }",
           "patch { clean_prompt: 1 }") +
      "logits { ids { ids: 1 } } ";
  Computed("", "6, 5, 4, 3, 2, 1");
  // The edited row from position 3 on, the other prompt's own row for its logits.
  EXPECT_EQ(Computed(patch, ids), 3 + 1);
}

}  // namespace
}  // namespace scalpel::engine
