#include "client/cpp/heat_map.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

std::string Drawn(const HeatMap& map, int columns = 80, bool colour = false) {
  std::ostringstream out;
  PrintHeatMap(Screen{out, columns, colour}, map);
  return out.str();
}

TEST(ClientHeatMap, SpreadsValuesOverTenDigits) {
  EXPECT_EQ(Drawn({{"layer", {"0", "1"}}, {"head", {"0", "1"}}, {0, 3, 8, 10}, std::nullopt}),
            R"(         head
  layer  0 1
      0  0 3
      1  8 9
  0 is 0, 9 is 10
)");
}

TEST(ClientHeatMap, PutsTheLongerLabelsOnRows) {
  const std::string drawn =
      Drawn({{"layer", {"0"}}, {"position", {"9 \" John\"", "10 \" a\""}}, {0, 1}, std::nullopt});
  EXPECT_EQ(drawn, R"(              layer
    position  0
   9 " John"  0
  10 " a"     9
  0 is 0, 9 is 1
)");
}

TEST(ClientHeatMap, PutsNumbersIntoColouredCells) {
  const HeatMap map{{"layer", {"0"}}, {"head", {"0", "1", "2"}}, {-0.001, 1, -8}, 0};
  const std::string drawn = Drawn(map, 80, true);
  EXPECT_NE(drawn.find("\x1b[48;5;17;38;5;255m"), std::string::npos) << drawn;  // below, a little
  EXPECT_NE(drawn.find("\x1b[48;5;51;38;5;16m-8.00 "), std::string::npos) << drawn;
  EXPECT_NE(drawn.find("m 0.00 "), std::string::npos) << "no minus zero: " << drawn;
  EXPECT_NE(drawn.find("clean 0"), std::string::npos) << drawn;
}

TEST(ClientHeatMap, SharesAPowerOfTen) {
  const HeatMap map{{"a", {"0"}}, {"b", {"0", "1"}}, {1e-5, 4e-5}, std::nullopt};
  const std::string drawn = Drawn(map, 80, true);
  EXPECT_NE(drawn.find("m 4.00 "), std::string::npos) << drawn;
  EXPECT_NE(drawn.find("in units of 1e-5"), std::string::npos) << drawn;
}

TEST(ClientHeatMap, ReportsColumnsThatDoNotFit) {
  HeatMap map{{"a", {"0"}}, {"b", {}}, {}, std::nullopt};
  for (int i = 0; i < 100; ++i) {
    map.columns.labels.push_back(absl::StrCat(i));
    map.values.push_back(i);
  }
  const std::string drawn = Drawn(map, 60);
  EXPECT_NE(drawn.find("more columns; a wider terminal shows them"), std::string::npos) << drawn;
  for (const absl::string_view line : absl::StrSplit(drawn, '\n')) EXPECT_LE(Columns(line), 60);
}

TEST(ClientHeatMap, ShowsWhatIsNotFinite) {
  const std::string drawn =
      Drawn({{"a", {"0"}}, {"b", {"0", "1"}}, {NAN, -INFINITY}, std::nullopt});
  EXPECT_NE(drawn.find("? ?"), std::string::npos) << drawn;
}

}  // namespace
}  // namespace scalpel::client
