#include "server/model/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/base/utf8.h"
#include "tests/unit/model/tokenizer_fixture.h"

namespace scalpel::model {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(TokenizerTest, MergesByRank) {
  WriteVocabulary();
  const Tokenizer tokenizer = Loaded();
  EXPECT_THAT(*tokenizer.Encode("hello hello", kNoLimit),
              ElementsAre(Id("hello"), Id(std::string(kSpace) + "hello")));
  EXPECT_THAT(*tokenizer.Encode("hellx", kNoLimit), ElementsAre(Id("he"), Id("ll"), 'x'));
  // The leftmost of equal pairs goes first.
  EXPECT_THAT(*tokenizer.Encode("aaaaa", kNoLimit), ElementsAre(Id("aa"), Id("aaa")));
  EXPECT_THAT(*tokenizer.Encode("aaa", kNoLimit), ElementsAre(Id("aaa")));
  EXPECT_THAT(*tokenizer.Encode("", kNoLimit), IsEmpty());
}

// Where words end decides what may merge.
TEST_F(TokenizerTest, SplitsWordsAsGpt2Does) {
  WriteVocabulary();
  const Tokenizer tokenizer = Loaded();
  EXPECT_THAT(*tokenizer.Encode("a's", kNoLimit), ElementsAre('a', Id("'s")));
  EXPECT_THAT(*tokenizer.Encode("'ss", kNoLimit), ElementsAre(Id("'s"), 's'));
  EXPECT_THAT(*tokenizer.Encode("a12a", kNoLimit), ElementsAre('a', Id("12"), 'a'));
  // Of several spaces the last belongs to the word, unless nothing follows.
  EXPECT_THAT(*tokenizer.Encode("  hello", kNoLimit),
              ElementsAre(' ', Id(std::string(kSpace) + "hello")));
  EXPECT_THAT(*tokenizer.Encode("a  ", kNoLimit), ElementsAre('a', ' ', ' '));
  EXPECT_THAT(*tokenizer.Encode("\n!", kNoLimit), ElementsAre('\n', '!'));
}

// "'s" is a word of its own after a letter, a number or white space, but "'" joins other symbols:
// this tells the class of the character before it.
TEST_F(TokenizerTest, CharacterClassesAreThoseOfUnicode16) {
  WriteVocabulary();
  const Tokenizer tokenizer = Loaded();
  const auto begins_word_after = [&](const std::string& character) {
    const std::vector<int32_t> ids = *tokenizer.Encode(character + "'s", kNoLimit);
    return ids.back() == Id("'s");
  };
  // Letters of Unicode 1, 15 and 16; numbers of Unicode 1 and 16; white space.
  for (const char* character : {"a", "\u4e2d", "\U00031350", "\u1C89", "5", "\u00bd", "\U00016D70",
                                "\t", "\n", "\u0085", "\u3000"}) {
    EXPECT_TRUE(begins_word_after(character)) << character;
  }
  // U+180E is no white space since Unicode 6.3; U+001C and U+200B never were.
  for (const char* character : {"!", "\u180E", "\u001C", "\u200B", "\u0301", "\U0001F600"}) {
    EXPECT_FALSE(begins_word_after(character)) << character;
  }
}

TEST_F(TokenizerTest, RoundTripsEveryByteOfUtf8) {
  WriteVocabulary();
  const Tokenizer tokenizer = Loaded();
  const std::string text = std::string("\0\x01\x7f", 3) + " \u00e9\u00ad\u4e2d\U0001F600\n\t";
  const auto ids = tokenizer.Encode(text, kNoLimit);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*tokenizer.Decode(*ids), text);
}

TEST_F(TokenizerTest, PutsThePrefixSpaceBeforeEveryPieceOfText) {
  WriteVocabulary();
  Write(dir_ / "tokenizer_config.json", R"({"add_prefix_space": true})");
  const Tokenizer tokenizer = Loaded();
  const int32_t end = Id("<|endoftext|>"), hello = Id(std::string(kSpace) + "hello");
  EXPECT_THAT(*tokenizer.Encode("hello<|endoftext|>hello<|endoftext|> hello", kNoLimit),
              ElementsAre(hello, end, hello, end, hello));
  EXPECT_THAT(*tokenizer.Encode("", kNoLimit), IsEmpty());
}

TEST_F(TokenizerTest, RefusesInvalidAndTooLongTexts) {
  WriteVocabulary();
  const Tokenizer tokenizer = Loaded();
  for (const char* text :
       {"ab\xff", "ab\xc0\x80", "ab\xed\xa0\x80", "ab\xf4\x90\x80\x80", "ab\xe2\x82"}) {
    EXPECT_EQ(tokenizer.Encode(text, kNoLimit).status().message(), "text: not UTF-8 at byte 2");
  }
  EXPECT_EQ(tokenizer.Encode("a b", 3)->size(), 3u);
  for (const char* text : {"a bc", "<|endoftext|>a bc"}) {
    const absl::Status status = tokenizer.Encode(text, 3).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), "text: more than 3 tokens; shorten it");
  }
  EXPECT_FALSE(tokenizer.Encode("<|endoftext|>", 0).ok());
  EXPECT_THAT(std::string(tokenizer.Encode(std::string(Tokenizer::kTextBytesMax + 1, 'a'), kNoLimit)
                              .status()
                              .message()),
              HasSubstr("the limit is 1048576"));
}

TEST_F(TokenizerTest, MergesALongWordQuickly) {
  WriteVocabulary();
  const Tokenizer tokenizer = Loaded();
  const auto ids = tokenizer.Encode(std::string(Tokenizer::kTextBytesMax, 'a'), kNoLimit);
  ASSERT_TRUE(ids.ok()) << ids.status();
  // Pairs first, all of them; then nothing merges "aa" with "aa".
  EXPECT_EQ(ids->size(), Tokenizer::kTextBytesMax / 2);
}

TEST_F(TokenizerTest, DecodeNamesTheBadIndex) {
  WriteVocabulary();
  const Tokenizer tokenizer = Loaded();
  const int64_t size = tokenizer.vocab_size();
  EXPECT_EQ(size, static_cast<int64_t>(vocabulary_.tokens.size()));
  for (const int64_t bad : {int64_t{-1}, size, int64_t{INT32_MAX}}) {
    const absl::Status status = tokenizer.Decode({'a', static_cast<int32_t>(bad)}).status();
    EXPECT_EQ(status.message(), "token_ids[1]: " + std::to_string(bad) +
                                    " has no token; ids are in [0, " + std::to_string(size) + ")");
  }
}

TEST_F(TokenizerTest, TokenTextIsAlwaysUtf8) {
  WriteVocabulary();
  const Tokenizer tokenizer = Loaded();
  EXPECT_EQ(tokenizer.TokenText(Id(std::string(kSpace) + "hello")), " hello");
  EXPECT_EQ(tokenizer.TokenText(0xE4), "\uFFFD");
  EXPECT_EQ(*tokenizer.Decode({0xE4}), "\xE4");
  EXPECT_EQ(tokenizer.TokenText(5000), "[5000]");
  EXPECT_EQ(tokenizer.TokenText(-1), "[-1]");
}

TEST_F(TokenizerTest, RefusesBytesWithoutAToken) {
  vocabulary_.tokens.erase("z");
  WriteVocabulary();
  EXPECT_THAT(std::string(Loaded().Encode("az", kNoLimit).status().message()),
              HasSubstr("the vocabulary has no token for the byte 122"));
}

TEST(Utf8, ReplacesInvalidSequencesAsPythonDoes) {
  EXPECT_EQ(ReplaceInvalidUtf8("a\u4e2d"), "a\u4e2d");
  EXPECT_EQ(ReplaceInvalidUtf8("\xe4\xb8"), "\uFFFD");  // a character cut short
  EXPECT_EQ(ReplaceInvalidUtf8("\xe4\xb8z"), "\uFFFDz");
  EXPECT_EQ(ReplaceInvalidUtf8("\x80\x80"), "\uFFFD\uFFFD");            // continuations alone
  EXPECT_EQ(ReplaceInvalidUtf8("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(ReplaceInvalidUtf8("\xf0\x9f\x98"), "\uFFFD");
}

}  // namespace
}  // namespace scalpel::model
