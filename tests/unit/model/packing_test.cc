#include "server/model/packing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/support/tiny.h"

namespace scalpel::model {
namespace {

using test::SameBits;
using ::testing::ElementsAre;

TEST(Packing, RowsWithEqualPositionsAreNeighbours) {
  const Packing packing({{0, 0, 5}, {1, 0, 2}, {2, 0, 5}, {3, 3, 5}, {4, 0, 40}});
  EXPECT_EQ(packing.tokens(), 5 + 2 + 5 + 2 + 40);
  std::set<int64_t> taken;
  for (const Packing::Entry& entry : packing.entries()) {
    for (int64_t i = 0; i < entry.tokens(); ++i) EXPECT_TRUE(taken.insert(entry.offset + i).second);
  }
  EXPECT_EQ(*taken.rbegin(), packing.tokens() - 1);
  EXPECT_EQ(packing.Find(2)->offset, packing.Find(0)->offset + 5);
  EXPECT_EQ(packing.EqualFrom(1), 2u);  // rows 0 and 2, behind row 1
  EXPECT_EQ(packing.entries().back().row, 4);
  EXPECT_EQ(packing.Find(5), nullptr);
  EXPECT_EQ(Packing().Find(0), nullptr);
}

TEST(Packing, BlocksBeginAtAbsolutePositions) {
  const Packing packing({{0, 17, 33}});
  EXPECT_EQ(packing.Find(0)->first_block(), 1);
  EXPECT_EQ(packing.Find(0)->blocks(), 3);
}

TEST(Repack, CopiesPresentRowsAndTakesNewOnesFromTheCleanRun) {
  const Packing from({{0, 0, 3}, {1, 1, 4}});
  const at::Tensor packed = at::arange(6, at::kFloat).unsqueeze(1);  // 0 1 2 | 3 4 5
  const at::Tensor clean = at::arange(100, 105, at::kFloat).unsqueeze(1);
  // Row 0 has left, row 1 is read from position 2 on, row 2 enters at position 3.
  const Packing to({{1, 2, 4}, {2, 3, 5}});
  const at::Tensor laid = Repack(from, packed, to, [&](int32_t row) {
    EXPECT_EQ(row, 2);
    return clean;
  });
  EXPECT_TRUE(SameBits(Packing::Slice(laid, *to.Find(1)).flatten(), at::tensor({4.0f, 5.0f})));
  EXPECT_TRUE(SameBits(Packing::Slice(laid, *to.Find(2)).flatten(), at::tensor({103.0f, 104.0f})));
  EXPECT_EQ(Repack(from, packed, Packing(), [&](int32_t) { return clean; }).size(0), 0);
}

}  // namespace
}  // namespace scalpel::model
