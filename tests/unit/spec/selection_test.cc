#include "server/spec/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

#include "tests/unit/support/tiny.h"

namespace scalpel::spec {
namespace {

using test::FromText;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What was violated: `field: description`, or nothing.
std::string Said(const Violations& violations) {
  return std::string(violations.ToStatus().message());
}

IndexSet RandomSet(std::mt19937& random, int64_t size) {
  if (random() % 2 == 0) {
    const int64_t start = random() % size, step = 1 + random() % 3;
    return IndexSet::Arithmetic(start, 1 + random() % ((size - 1 - start) / step + 1), step);
  }
  std::vector<int64_t> all(size);
  std::iota(all.begin(), all.end(), 0);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(1 + random() % size);
  return IndexSet::List(all);
}

TEST(IndexSet, RecognizesArithmeticLists) {
  const IndexSet even = IndexSet::List({0, 2, 4});
  EXPECT_TRUE(even.arithmetic());
  EXPECT_EQ(even.step(), 2);
  EXPECT_EQ(even.max(), 4);
  const IndexSet primes = IndexSet::List({2, 3, 5});
  EXPECT_FALSE(primes.arithmetic());
  EXPECT_EQ(primes.max(), 5);
  EXPECT_THAT(primes.ToVector(), ElementsAre(2, 3, 5));
  EXPECT_THAT(IndexSet::List({7}).ToVector(), ElementsAre(7));
  const IndexSet falling = IndexSet::List({4, 2, 0});
  EXPECT_FALSE(falling.arithmetic());  // no slice shows it
  EXPECT_THAT(falling.ToVector(), ElementsAre(4, 2, 0));
  EXPECT_EQ(falling.min(), 0);
  EXPECT_EQ(falling.max(), 4);
  EXPECT_THAT(falling.Ascending().ToVector(), ElementsAre(0, 2, 4));
  EXPECT_THAT(IndexSet::Arithmetic(1, 3, 4).ToVector(), ElementsAre(1, 5, 9));
}

// Slices, one list and several lists take different paths; all must be what an open mesh selects.
TEST(Region, ReadsAndWritesTheElementsOfAnOpenMesh) {
  std::mt19937 random(1);
  int most_lists = 0;
  for (int trial = 0; trial < 400; ++trial) {
    const std::vector<int64_t> sizes = {5 + trial % 4, 7, 6};
    at::Tensor value = at::randn(sizes);
    if (trial % 2 == 1) value = at::randn({7, sizes[0], 6}).transpose(0, 1);  // a strided view
    std::vector<IndexSet> axes;
    c10::List<std::optional<at::Tensor>> mesh;
    std::vector<int64_t> shape;
    int lists = 0;
    for (int axis = 0; axis < 3; ++axis) {
      axes.push_back(RandomSet(random, sizes[axis]));
      lists += !axes.back().arithmetic();
      shape.push_back(axes.back().size());
      std::vector<int64_t> open(3, 1);
      open[axis] = axes.back().size();
      mesh.push_back(at::tensor(axes.back().ToVector(), at::kLong).view(open));
    }
    most_lists = std::max(most_lists, lists);
    const Region region(axes);
    ASSERT_EQ(region.shape(), shape);
    EXPECT_EQ(region.elements(), shape[0] * shape[1] * shape[2]);
    ASSERT_TRUE(at::equal(region.Read(value), at::index(value, mesh)));
    const at::Tensor part = at::randn(shape), expected = value.clone();
    at::Tensor(expected).index_put_(mesh, part);
    region.Write(value, part);
    ASSERT_TRUE(at::equal(value, expected));
  }
  EXPECT_EQ(most_lists, 3);
}

TEST(Region, ReadOfSlicesIsAView) {
  const at::Tensor value = at::zeros({4, 6});
  const Region region({IndexSet::Arithmetic(1, 2, 1), IndexSet::Arithmetic(0, 3, 2)});
  region.Read(value).fill_(1);
  EXPECT_EQ(value.sum().item<float>(), 6);
  EXPECT_EQ(value[2][4].item<float>(), 1);
}

TEST(Causal, MaskAndCountAgreeWithTheDefinition) {
  std::mt19937 random(2);
  for (int trial = 0; trial < 100; ++trial) {
    const Region region(
        {IndexSet::Arithmetic(0, 2, 1), RandomSet(random, 7), RandomSet(random, 7)});
    const at::Tensor mask = CausalMask(region, at::kCPU);
    int64_t pairs = 0;
    for (int64_t q = 0; q < region.axis(1).size(); ++q) {
      for (int64_t k = 0; k < region.axis(2).size(); ++k) {
        const bool sees = region.axis(2).at(k) <= region.axis(1).at(q);
        ASSERT_EQ(mask[q][k].item<bool>(), sees);
        pairs += sees;
      }
    }
    ASSERT_EQ(CausalPairs(region), pairs);
  }
}

TEST(ResolveList, KeepsTheOrderAndChecksTheSize) {
  const auto resolve = [](std::vector<int32_t> list, Violations& violations) {
    google::protobuf::RepeatedField<int32_t> field(list.begin(), list.end());
    return ResolveList(field, 3, "layers", violations);
  };
  Violations none(9);
  EXPECT_THAT(*resolve({}, none), ElementsAre(0, 1, 2));
  EXPECT_THAT(*resolve({0, 2}, none), ElementsAre(0, 2));
  EXPECT_THAT(*resolve({2, 0, -2}, none), ElementsAre(2, 0, 1));
  EXPECT_TRUE(none.empty());
  const std::vector<std::pair<std::vector<int32_t>, std::string>> bad = {
      {{3}, "layers[0]: 3 is outside [-3, 3)"},
      {{0, -4}, "layers[1]: -4 is outside [-3, 3)"},
      {{1, 0, 1}, "layers: 1 is named twice; name it once"},
      {{1, 0, 1, 0}, "layers: 4 indices for an axis of 3; name each at most once"},
      {{2, -1}, "layers: 2 is named twice; name it once"}};
  for (const auto& [list, words] : bad) {
    Violations violations(9);
    EXPECT_FALSE(resolve(list, violations));
    EXPECT_EQ(Said(violations), words);
  }
}

TEST(ResolveUnits, RangesAndIndicesCountFromBothEnds) {
  const std::vector<std::pair<std::string, std::vector<int64_t>>> good = {
      {"range {}", {0, 1, 2, 3, 4, 5, 6}},
      {"range { step: 2 }", {0, 2, 4, 6}},
      {"range { start: 1 step: 2 }", {1, 3, 5}},
      {"range { start: -3 }", {4, 5, 6}},
      {"range { end: -5 }", {0, 1}},
      {"range { start: 2 end: 7 step: 4 }", {2, 6}},
      {"range { start: -7 end: 7 step: 100 }", {0}},
      {"range { start: 6 step: 9223372036854775807 }", {6}},
      {"indices { values: [5, 0, -1] }", {5, 0, 6}},
      {"indices { values: [-7, 1] }", {0, 1}}};
  for (const auto& [text, expected] : good) {
    Violations violations(9);
    const auto units = FromText<v1::Units>(text);
    const auto set = ResolveUnits(&units, 7, "units", violations);
    ASSERT_TRUE(set && violations.empty()) << text << " " << Said(violations);
    EXPECT_EQ(set->ToVector(), expected) << text;
  }
  Violations none(9);
  EXPECT_EQ(ResolveUnits(nullptr, 7, "units", none)->size(), 7);
}

TEST(ResolveUnits, EveryRefusalNamesItsField) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "units: is empty; give `range` or `indices`, or leave the field out to select all"},
      {"range { step: 0 }", "units.range.step: 0 is below 1"},
      {"range { step: -1 }", "units.range.step: -1 is below 1"},
      {"range { start: 7 }", "units.range.start: 7 is outside [-7, 7)"},
      {"range { start: -8 }", "units.range.start: -8 is outside [-7, 7)"},
      {"range { start: -9223372036854775808 }",
       "units.range.start: -9223372036854775808 is outside"},
      {"range { end: 8 }", "units.range.end: 8 is outside [-7, 7]"},
      {"range { end: -8 }", "units.range.end: -8 is outside [-7, 7]"},
      {"range { start: 3 end: 3 }", "units.range: [3, 3) selects nothing; end must be above start"},
      {"range { start: -1 end: 2 }", "units.range: [6, 2) selects nothing"},
      {"range { end: 0 }", "units.range: [0, 0) selects nothing"},
      {"indices {}", "units.indices.values: is empty; name at least one index"},
      {"indices { values: [0, 7] }", "units.indices.values[1]: 7 is outside [-7, 7)"},
      {"indices { values: [-8] }", "units.indices.values[0]: -8 is outside [-7, 7)"},
      {"indices { values: [6, -1] }", "units.indices.values: 6 is named twice; name it once"},
      {"indices { values: [0, 0, 0, 0, 0, 0, 0, 0] }",
       "units.indices.values: 8 indices for an axis of 7; name each at most once"}};
  for (const auto& [text, words] : bad) {
    Violations violations(9);
    const auto units = FromText<v1::Units>(text);
    EXPECT_FALSE(ResolveUnits(&units, 7, "units", violations)) << text;
    EXPECT_EQ(violations.count(), 1) << text;
    EXPECT_THAT(Said(violations), HasSubstr(words)) << text;
  }
}

TEST(ResolvePositions, TokensSelectEveryPositionThatHoldsOne) {
  const std::vector<int32_t> prompt = {5, 9, 5, 7};
  Violations violations(9);
  const auto found = FromText<v1::Positions>("tokens { ids: [7, 5] }");
  EXPECT_THAT(ResolvePositions(&found, prompt, "p", violations)->ToVector(), ElementsAre(0, 2, 3));
  EXPECT_EQ(ResolvePositions(nullptr, prompt, "p", violations)->size(), 4);
  EXPECT_TRUE(violations.empty());
  const auto absent = FromText<v1::Positions>("tokens { ids: 8 }");
  EXPECT_FALSE(ResolvePositions(&absent, prompt, "p", violations));
  EXPECT_THAT(Said(violations),
              HasSubstr("p.tokens: a selected prompt holds none of these tokens"));
  Violations empty(9);
  const v1::Positions unset;
  EXPECT_FALSE(ResolvePositions(&unset, prompt, "p", empty));
  EXPECT_THAT(Said(empty), HasSubstr("p: is empty; give `range`, `indices` or `tokens`"));
}

TEST(ResolveRegion, AxesComeInTheSitesOrder) {
  const std::vector<int32_t> prompt = {1, 2, 3, 4};
  const auto where = FromText<v1::Selection>(
      "heads: [0, 2] units { range { step: 2 } } positions { indices { values: -1 } }");
  Violations violations(9);
  const auto z = ResolveRegion(*FindSite(v1::SITE_Z), where, test::TinyConfig(), prompt, nullptr,
                               "w", violations);
  EXPECT_THAT(z->shape(), ElementsAre(1, 2, 2));
  EXPECT_EQ(z->axis(0).at(0), 3);
  const auto pairs = FromText<v1::Selection>(
      "heads: 1 positions { range { start: 2 } } key_positions { indices { values: [0, 3] } }");
  const auto scores = ResolveRegion(*FindSite(v1::SITE_ATTN_SCORES), pairs, test::TinyConfig(),
                                    prompt, nullptr, "w", violations);
  EXPECT_THAT(scores->shape(), ElementsAre(1, 2, 2));
  EXPECT_EQ(CausalPairs(*scores), 3);
  EXPECT_TRUE(violations.empty());
  const auto future = FromText<v1::Selection>(
      "positions { range { end: 2 } } key_positions { range { start: 2 } }");
  EXPECT_FALSE(ResolveRegion(*FindSite(v1::SITE_PATTERN), future, test::TinyConfig(), prompt,
                             nullptr, "w", violations));
  EXPECT_EQ(Said(violations), "w: selects no (query, key) pair with key <= query at pattern");
}

// A step beyond every axis must not reach the stride arithmetic of a slice.
TEST(Region, AHugeStepIsHarmless) {
  const auto units = FromText<v1::Units>("range { start: 2 step: 9223372036854775807 }");
  Violations violations(9);
  const Region region({IndexSet::Arithmetic(0, 4, 1), *ResolveUnits(&units, 5, "u", violations)});
  const at::Tensor value = at::arange(20, at::kFloat).view({4, 5});
  EXPECT_TRUE(at::equal(region.Read(value), value.narrow(1, 2, 1)));
  EXPECT_LT(region.Read(value).stride(1), 1000);
  region.Write(value, at::full({4, 1}, -1.0f));
  EXPECT_EQ(value.select(1, 2).sum().item<float>(), -4);
}

}  // namespace
}  // namespace scalpel::spec
