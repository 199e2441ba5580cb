#include "server/base/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

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

// Against the definition: what follows makes it a character.
TEST(UnfinishedUtf8, IsWhatFurtherBytesComplete) {
  const std::string bytes = "a\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xe0\xed\xf0\xf4\xf5";
  const auto begins = [](std::string_view text) {
    for (const char* end : {"\x80", "\x90", "\xa0"}) {
      for (const char* more : {"", "\x80", "\x80\x80"}) {
        const std::string whole = absl::StrCat(std::string(text), end, more);
        const Utf8Step step = NextUtf8(whole);
        if (step.valid && step.bytes == whole.size()) return true;
      }
    }
    return false;
  };
  std::vector<std::string> texts = {""};
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = texts[i];
    size_t expected = 0;
    for (size_t length = 1; length <= text.size(); ++length) {
      if (begins(std::string_view(text).substr(text.size() - length))) expected = length;
    }
    EXPECT_EQ(UnfinishedUtf8(text), expected) << OneLine(text);
    if (text.size() == 4) continue;
    for (const char byte : bytes) texts.push_back(text + byte);
  }
  EXPECT_EQ(UnfinishedUtf8("\xf0\x9f\x98"), 3u);
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
