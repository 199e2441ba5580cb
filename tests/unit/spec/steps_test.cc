#include "server/spec/steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/support/tiny.h"

namespace scalpel::spec {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::vector<int32_t> kTokens = {7, 8, 9, 8, 7, 8};

// The positions that a selection has in a step that computes positions `first` to 6; nullopt: none.
std::optional<std::vector<int64_t>> Narrowed(const std::string& text, int32_t step, int64_t first) {
  auto where = test::FromText<v1::Selection>(text);
  if (!NarrowSelection(&where, {0, step, kTokens, first})) return std::nullopt;
  EXPECT_FALSE(where.has_steps());
  const auto& values = where.positions().indices().values();
  return std::vector<int64_t>(values.begin(), values.end());
}

TEST(SelectsStep, IsARange) {
  const auto selected = [](const std::string& text) {
    std::vector<int> steps;
    for (int step = 0; step < 7; ++step) {
      if (SelectsStep(test::FromText<v1::Selection>(text), step)) steps.push_back(step);
    }
    return steps;
  };
  EXPECT_THAT(selected(""), ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_THAT(selected("steps { end: 1 }"), ElementsAre(0));
  EXPECT_THAT(selected("steps { start: 5 }"), ElementsAre(5, 6));
  EXPECT_THAT(selected("steps { start: 1 end: 6 step: 2 }"), ElementsAre(1, 3, 5));
}

TEST(NarrowSelection, KeepsTheOrderAndCountsNegativeOnesFromTheEnd) {
  EXPECT_THAT(*Narrowed("positions { indices { values: [4, -6, 1] } }", 0, 0),
              ElementsAre(4, 0, 1));
  EXPECT_THAT(*Narrowed("positions { indices { values: [-1, 5] } }", 2, 5), ElementsAre(5));
}

TEST(NarrowSelection, LeavesOutWhatIsNotThereYetOrNotComputed) {
  EXPECT_THAT(*Narrowed("positions { indices { values: [6, 2, 100] } }", 0, 0), ElementsAre(2));
  EXPECT_EQ(Narrowed("positions { indices { values: [0, 4] } }", 2, 5), std::nullopt);
  EXPECT_EQ(Narrowed("positions { indices { values: -7 } }", 0, 0), std::nullopt);
}

TEST(NarrowSelection, KnowsRanges) {
  EXPECT_THAT(*Narrowed("positions { range { start: 1 step: 2 } }", 0, 0), ElementsAre(1, 3, 5));
  EXPECT_THAT(*Narrowed("positions { range { start: 1 step: 2 } }", 2, 4), ElementsAre(5));
  EXPECT_THAT(*Narrowed("positions { range { start: -3 end: -1 } }", 0, 0), ElementsAre(3, 4));
  EXPECT_THAT(*Narrowed("positions { range { end: 200 } }", 2, 4), ElementsAre(4, 5));
  EXPECT_EQ(Narrowed("positions { range { start: 9 } }", 0, 0), std::nullopt);
  EXPECT_THAT(*Narrowed("positions { range { step: 9223372036854775807 } }", 0, 0), ElementsAre(0));
}

TEST(NarrowSelection, KnowsTokens) {
  EXPECT_THAT(*Narrowed("positions { tokens { ids: 8 } }", 0, 0), ElementsAre(1, 3, 5));
  EXPECT_THAT(*Narrowed("positions { tokens { ids: [8, 7] } }", 2, 4), ElementsAre(4, 5));
  EXPECT_EQ(Narrowed("positions { tokens { ids: 9 } }", 2, 4), std::nullopt);
}

TEST(NarrowSelection, AllPositionsStayAllWhereAllAreComputed) {
  EXPECT_THAT(*Narrowed("", 0, 0), IsEmpty());
  EXPECT_THAT(*Narrowed("", 2, 5), ElementsAre(5));
}

TEST(NarrowSelection, StepsThatAreNotSelectedHaveNothing) {
  EXPECT_EQ(Narrowed("steps { start: 1 }", 0, 0), std::nullopt);
}

TEST(NarrowSelection, KeysAreAllThatExistUpToTheQueries) {
  auto where = test::FromText<v1::Selection>("key_positions { indices { values: [0, -1, 8] } }");
  ASSERT_TRUE(NarrowSelection(&where, {0, 2, kTokens, 5}));
  EXPECT_THAT(where.key_positions().indices().values(), ElementsAre(0, 5));
  EXPECT_FALSE(Narrowed("positions { indices { values: 1 } } "
                        "key_positions { indices { values: 2 } }",
                        0, 0)
                   .has_value());
}

TEST(NarrowIntervention, KeepsThePairsWhoseQueryIsComputed) {
  auto cut = test::FromText<v1::Intervention>(
      "place { site: SITE_ATTN_SCORES } knockout { pairs { query: 5 key: 1 } "
      "pairs { query: 4 key: 1 } pairs { query: -1 key: -2 } pairs { query: 8 key: 0 } }");
  ASSERT_TRUE(NarrowIntervention(&cut, {0, 2, kTokens, 5}));
  ASSERT_EQ(cut.knockout().pairs_size(), 2);
  EXPECT_EQ(cut.knockout().pairs(0).query(), 5);
  EXPECT_EQ(cut.knockout().pairs(1).query(), -1);
  EXPECT_FALSE(NarrowIntervention(&cut, {0, 0, absl::MakeConstSpan(kTokens).first(3), 0}) &&
               cut.knockout().pairs_size() > 1);
}

// What a patch reads is said of its source: -1 is the source's last.
TEST(NarrowIntervention, LeavesThePatchsSourceToBeResolvedThere) {
  auto patch = test::FromText<v1::Intervention>(
      "place { site: SITE_Z where { positions { indices { values: -1 } } } } "
      "patch { clean_prompt: 1 }");
  ASSERT_TRUE(NarrowIntervention(&patch, {0, 0, kTokens, 0}));
  EXPECT_THAT(patch.place().where().positions().indices().values(), ElementsAre(5));
  EXPECT_THAT(patch.patch().positions().indices().values(), ElementsAre(-1));
}

TEST(NarrowIntervention, ReadsTheStreamsOwnPromptAsItWas) {
  auto patch = test::FromText<v1::Intervention>(
      "place { site: SITE_Z where { positions { indices { values: 2 } } } } "
      "patch { clean_prompt: 0 positions { indices { values: -1 } } }");
  ASSERT_TRUE(NarrowIntervention(&patch, {0, 2, kTokens, 0}));
  EXPECT_THAT(patch.patch().positions().indices().values(), ElementsAre(3));
}

TEST(NarrowIntervention, AMeanIsOverWhatIsThere) {
  auto mean = test::FromText<v1::Intervention>(
      "place { site: SITE_Z } mean { over { indices { values: [5, -1, 9] } } }");
  ASSERT_TRUE(NarrowIntervention(&mean, {0, 2, kTokens, 0}));
  EXPECT_THAT(mean.mean().over().indices().values(), ElementsAre(5));
  auto later = test::FromText<v1::Intervention>(
      "place { site: SITE_Z } mean { over { indices { values: 9 } } }");
  EXPECT_FALSE(NarrowIntervention(&later, {0, 2, kTokens, 0}));
}

}  // namespace
}  // namespace scalpel::spec
