#include "client/cpp/sparkline.h"

#include <gtest/gtest.h>

#include <cmath>

namespace scalpel::client {
namespace {

Scale ScaleOf(const std::vector<double>& values) {
  Scale scale;
  scale.Include(values);
  return scale;
}

TEST(ClientSparkline, SpreadsValuesOverEightBlocks) {
  const std::vector<double> values = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(Sparkline(values, ScaleOf(values)), "▁▂▃▄▅▆▇█");
}

TEST(ClientSparkline, SharesAScaleOverSeries) {
  Scale scale = ScaleOf({0, 1});
  scale.Include({-1});
  EXPECT_EQ(scale.low, -1);
  EXPECT_EQ(Sparkline({-1, 0, 1}, scale), "▁▅█");
}

TEST(ClientSparkline, MarksValuesThatAreNotFinite) {
  const std::vector<double> values = {NAN, 1, INFINITY, 2};
  EXPECT_EQ(Sparkline(values, ScaleOf(values)), "?▁?█");
}

TEST(ClientSparkline, DrawsOneValueAndNothingAtAll) {
  EXPECT_EQ(Sparkline({5, 5}, ScaleOf({5, 5})), "▁▁");
  EXPECT_EQ(Sparkline({NAN}, ScaleOf({NAN})), "?");
  EXPECT_EQ(Sparkline({}, Scale()), "");
}

TEST(ClientSparkline, DoesNotOverflow) {
  const std::vector<double> values = {-1.7e308, 0, 1.7e308};
  EXPECT_EQ(Sparkline(values, ScaleOf(values)), "▁▅█");
}

TEST(ClientBar, CountsEighths) {
  EXPECT_EQ(Bar(0, 4), "");
  EXPECT_EQ(Bar(1, 4), "████");
  EXPECT_EQ(Bar(0.5, 3), "█▌");
  EXPECT_EQ(Bar(7, 2), "██");
  EXPECT_EQ(Bar(NAN, 2), "");
}

}  // namespace
}  // namespace scalpel::client
