#include "client/cpp/text.h"

#include <gtest/gtest.h>

#include <sstream>

#include "client/cpp/table.h"

namespace scalpel::client {
namespace {

TEST(ClientText, EscapesWhatWouldMoveTheCursorOrReverseTheText) {
  EXPECT_EQ(Printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(Printable("a\n\t\r\x7f"), "a\\n\\t\\r\\x7f");
  EXPECT_EQ(Printable("\u202Eabc"), "\\u202eabc");
  EXPECT_EQ(Printable("\u009B31m"), "\\x9b31m");
  EXPECT_EQ(Printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(Printable("é 日本 😀"), "é 日本 😀");
}

TEST(ClientText, QuotesShowSpacesAndEscapeQuotes) {
  EXPECT_EQ(Quoted(" Paris"), "\" Paris\"");
  EXPECT_EQ(Quoted("say \"\\\""), "\"say \\\"\\\\\\\"\"");
}

TEST(ClientText, RefusesWhatIsNotUtf8) {
  EXPECT_TRUE(IsUtf8("aé日😀"));
  EXPECT_FALSE(IsUtf8("\xc0\x80"));          // overlong
  EXPECT_FALSE(IsUtf8("\xed\xa0\x80"));      // surrogate
  EXPECT_FALSE(IsUtf8("\xf4\x90\x80\x80"));  // above U+10FFFF
  EXPECT_FALSE(IsUtf8("ab\xe2\x82"));        // cut off
}

TEST(ClientText, MeasuresColumns) {
  EXPECT_EQ(Columns("abc"), 3);
  EXPECT_EQ(Columns("日本"), 4);
  EXPECT_EQ(Columns("e\u0301"), 1);
  EXPECT_EQ(Columns("█▁"), 2);
}

TEST(ClientText, FitsAndPads) {
  EXPECT_EQ(Fit("abcdef", 6), "abcdef");
  EXPECT_EQ(Fit("abcdef", 5), "abcd…");
  EXPECT_EQ(Fit("日本語", 5), "日本…");
  EXPECT_EQ(Fit("日本語", 4), "日…");
  EXPECT_EQ(Fit("abc", 0), "");
  EXPECT_EQ(PadRight("ab", 4), "ab  ");
  EXPECT_EQ(PadLeft("ab", 4), "  ab");
}

TEST(ClientText, WritesNumbers) {
  EXPECT_EQ(Number(0.123456), "0.1235");
  EXPECT_EQ(Number(-1.23456e-5), "-1.235e-05");
  EXPECT_EQ(Thousands(13238272), "13,238,272");
  EXPECT_EQ(Thousands(-1234), "-1,234");
  EXPECT_EQ(Thousands(-123), "-123");
  EXPECT_EQ(Thousands(999), "999");
  EXPECT_EQ(Bytes(1023), "1023 B");
  EXPECT_EQ(Bytes(uint64_t{3} << 29), "1.5 GiB");
  EXPECT_EQ(Count(1, "prompt"), "1 prompt");
  EXPECT_EQ(Count(1024, "token"), "1,024 tokens");
}

TEST(ClientTable, WrapsTheLastColumnAtTheEdge) {
  std::ostringstream out;
  PrintTable(Screen{out, 30}, {{"n", true}, {"words"}},
             {{"7", "one two three four five six"}, {"12", "x"}});
  EXPECT_EQ(out.str(),
            "   n  words\n"
            "   7  one two three four five\n"
            "      six\n"
            "  12  x\n");
}

}  // namespace
}  // namespace scalpel::client
