#include "server/spec/stop_strings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string_view>

namespace scalpel::spec {
namespace {

// The string with which each beginning of the text ends; "" for none.
std::vector<std::string> EndsOf(const StopStrings& stops, std::string_view text) {
  std::vector<std::string> ends;
  StopStrings::State state = StopStrings::kStart;
  for (const char byte : text) {
    state = stops.Next(state, byte);
    const std::string* end = stops.EndOf(state);
    ends.push_back(end == nullptr ? "" : *end);
  }
  return ends;
}

using Ends = std::vector<std::string>;

TEST(StopStrings, AreFoundWhereTheyEnd) {
  EXPECT_EQ(EndsOf(StopStrings({"ab"}), "aabab"), (Ends{"", "", "ab", "", "ab"}));
  EXPECT_EQ(EndsOf(StopStrings({}), "ab"), (Ends{"", ""}));
}

TEST(StopStrings, MayBeginWithinWhatTurnsOutToBeNone) {
  EXPECT_EQ(EndsOf(StopStrings({"aab"}), "aaab"), (Ends{"", "", "", "aab"}));
  EXPECT_EQ(EndsOf(StopStrings({"abcd", "bc"}), "abcx"), (Ends{"", "", "bc", ""}));
}

TEST(StopStrings, TheLongestOfThoseThatEndTogetherIsFound) {
  EXPECT_EQ(EndsOf(StopStrings({"b", "aab", "ab"}), "aabb"), (Ends{"", "", "aab", "b"}));
  EXPECT_EQ(EndsOf(StopStrings({"aab", "ab", "b"}), "cabb"), (Ends{"", "", "ab", "b"}));
  EXPECT_EQ(EndsOf(StopStrings({"ab", "ab"}), "ab"), (Ends{"", "ab"}));
}

TEST(StopStrings, MayHoldAnyBytes) {
  const std::string zero("\0\xff", 2);
  EXPECT_EQ(EndsOf(StopStrings({zero, "\u00e9"}), "\xc3\xa9" + zero),
            (Ends{"", "\u00e9", "", zero}));
}

TEST(StopStrings, AreThoseThatASearchFinds) {
  std::mt19937 random(3);
  const auto word = [&](size_t length) {
    std::string text;
    while (text.size() < length) text += static_cast<char>('a' + random() % 2);
    return text;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<std::string> strings(1 + random() % 6);
    for (std::string& string : strings) string = word(1 + random() % 6);
    const std::string text = word(60);
    Ends expected;
    for (size_t end = 1; end <= text.size(); ++end) {
      std::string longest;
      for (const std::string& string : strings) {
        if (string.size() > longest.size() &&
            std::string_view(text).substr(0, end).ends_with(string))
          longest = string;
      }
      expected.push_back(longest);
    }
    EXPECT_EQ(EndsOf(StopStrings(strings), text), expected) << "round " << round;
  }
}

}  // namespace
}  // namespace scalpel::spec
