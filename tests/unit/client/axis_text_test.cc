#include "client/cpp/axis_text.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace scalpel::client {
namespace {

using Axes = google::protobuf::RepeatedPtrField<v1::AxisIndices>;

v1::AxisIndices Spaced(v1::Axis axis, int64_t start, int64_t step, int64_t count) {
  v1::AxisIndices made;
  made.set_axis(axis);
  made.set_start(start);
  made.set_step(step);
  made.set_count(count);
  return made;
}

v1::AxisIndices Listed(v1::Axis axis, const std::vector<int64_t>& values) {
  v1::AxisIndices made;
  made.set_axis(axis);
  for (const int64_t value : values) made.add_values(value);
  return made;
}

std::string TextOf(const std::vector<v1::AxisIndices>& axes) {
  return PartText({axes.begin(), axes.end()});
}

TEST(ClientAxisText, IsEmptyWherePlacesAreIndices) {
  EXPECT_EQ(PartText(Axes()), "");
  EXPECT_EQ(TextOf({Spaced(v1::AXIS_POSITION, 0, 1, 14), Spaced(v1::AXIS_HEAD, 0, 1, 1)}), "");
}

TEST(ClientAxisText, ListsIndicesInTheirOrder) {
  EXPECT_EQ(TextOf({Listed(v1::AXIS_HEAD, {7, 3, 4})}), "head 7, 3, 4");
  EXPECT_EQ(TextOf({Spaced(v1::AXIS_HEAD, 3, 4, 2)}), "head 3, 7");
  EXPECT_EQ(TextOf({Spaced(v1::AXIS_POSITION, 13, 1, 1)}), "position 13");
  EXPECT_EQ(TextOf({Spaced(v1::AXIS_UNIT, 0, 2, 3)}), "unit 0, 2, 4");
  EXPECT_EQ(TextOf({Listed(v1::AXIS_UNIT, {0, 1, 2, 3, 4, 5, 6, 9, 8})}),
            "unit 0, 1, 2, 3, 4, 5, 6, 9, ...");
}

TEST(ClientAxisText, WritesLongListsAsRanges) {
  EXPECT_EQ(TextOf({Spaced(v1::AXIS_UNIT, 4, 1, 4)}), "unit 4 to 7");
  EXPECT_EQ(TextOf({Spaced(v1::AXIS_QUERY, 1, 2, 5), Spaced(v1::AXIS_KEY, 0, 1, 9),
                    Spaced(v1::AXIS_UNIT, 9, -3, 4)}),
            "query 1 to 9 by 2; unit 9 to 0 by -3");
}

}  // namespace
}  // namespace scalpel::client
