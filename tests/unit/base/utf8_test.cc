#include "server/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "server/base/json.h"

namespace scalpel {
namespace {

TEST(Beginning, HasWholeCharacters) {
  EXPECT_EQ(Beginning("abc", 3), "abc");
  EXPECT_EQ(Beginning("abcd", 3), "abc");
  EXPECT_EQ(Beginning("ab\u00e9", 3), "ab");
  EXPECT_EQ(Beginning("\U0001f600", 3), "");
}

TEST(Truncated, HasAnEllipsisOnTop) {
  EXPECT_EQ(Truncated("abc", 3), "abc");
  EXPECT_EQ(Truncated("ab\u00e9", 3), "ab\u2026");
}

TEST(OneLine, EscapesOnlyWhatALineCannotHold) {
  EXPECT_EQ(OneLine("a \"b\" 'c' \\d \u00e9"), "a \"b\" 'c' \\d \u00e9");
  EXPECT_EQ(OneLine("a\nb\r\x1b[0m"), "a\\nb\\r\\x1b[0m");
  EXPECT_EQ(OneLine(std::string("\0", 1)), "\\x00");
  EXPECT_EQ(OneLine("a\xff"), "a\ufffd");
}

TEST(QuotedName, IsCutBetweenCharacters) {
  const std::string ascii(119, 'a');
  EXPECT_EQ(QuotedName(absl::StrCat(ascii, "\u00e9")), absl::StrCat("\"", ascii, "...\""));
  EXPECT_EQ(QuotedName("a\n\""), "\"a\\n\\\"\"");
}

}  // namespace
}  // namespace scalpel
