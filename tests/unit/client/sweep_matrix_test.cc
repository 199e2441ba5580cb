#include "client/cpp/sweep_matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/support/tiny.h"

namespace scalpel::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsNan;
using ::testing::SizeIs;

v1::SweepStarted Grid(int variants) {
  auto started = test::FromText<v1::SweepStarted>(
      R"(axes { name: "layer" labels: ["0", "1"] } axes { name: "head" labels: ["0", "1"] })");
  started.set_variants(variants);
  return started;
}

v1::VariantResult Result(const std::string& metrics) {
  return test::FromText<v1::VariantResult>(metrics);
}

TEST(GatherMatrices, TakesEachMetricOfOneNumberInEachPrompt) {
  const std::string other = R"(metrics { index: 1 name: "ids" values: [1, 2] })";
  const auto matrices = GatherMatrices(
      Grid(4), {{3, Result(R"(metrics { index: 0 name: "diff" prompt: 1 values: 4 }
                              metrics { index: 0 name: "diff" values: 3 })" +
                           other)},
                {0, Result(R"(metrics { index: 0 name: "diff" values: 1 })" + other)}});
  ASSERT_THAT(matrices, SizeIs(2));
  EXPECT_EQ(matrices[0].name, "diff");
  EXPECT_THAT(matrices[0].shape, ElementsAre(2, 2));
  EXPECT_THAT(matrices[0].values, ElementsAre(1, IsNan(), IsNan(), 3));
  EXPECT_EQ(matrices[1].prompt, 1);
  EXPECT_THAT(matrices[1].values, ElementsAre(IsNan(), IsNan(), IsNan(), 4));
}

TEST(GatherMatrices, AListHasOneAxis) {
  v1::SweepStarted started;
  started.set_variants(2);
  const auto matrices = GatherMatrices(
      started, {{0, Result("metrics { values: 1 }")}, {1, Result("metrics { values: 2 }")}});
  ASSERT_THAT(matrices, SizeIs(1));
  EXPECT_THAT(matrices[0].shape, ElementsAre(2));
  EXPECT_THAT(matrices[0].values, ElementsAre(1, 2));
}

TEST(GatherMatrices, TrustsNoServer) {
  const v1::VariantResult result = Result("metrics { values: 1 }");
  EXPECT_THAT(GatherMatrices(Grid(5), {{0, result}}), SizeIs(0));
  EXPECT_THAT(GatherMatrices(Grid(4), {{-1, result}, {4, result}}), SizeIs(0));
}

}  // namespace
}  // namespace scalpel::client
