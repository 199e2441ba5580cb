#include "server/spec/generated_text.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>

#include "server/base/utf8.h"
#include "tests/unit/model/tokenizer_fixture.h"

namespace scalpel::spec {
namespace {

constexpr char kReplaced[] = "\ufffd";

// Its vocabulary has a token for each byte, with the byte as its id.
class GeneratedTextTest : public model::TokenizerTest {
 protected:
  void SetUp() override {
    TokenizerTest::SetUp();
    WriteVocabulary();
    tokenizer_.emplace(Loaded());
  }

  // The tokens' texts one by one, and what is left at the end.
  std::vector<std::string> Pieces(const std::vector<int32_t>& ids) {
    GeneratedText text(&*tokenizer_, none_);
    std::vector<std::string> pieces;
    for (const int32_t id : ids) pieces.push_back(text.Add(id));
    pieces.push_back(text.Finish());
    return pieces;
  }

  struct Stopped {
    std::string stop, text;
    bool operator==(const Stopped&) const = default;
  };

  // What ends a text that comes byte by byte.
  Stopped StoppedBy(const std::vector<std::string>& strings, const std::string& bytes) {
    const StopStrings stops(strings);
    GeneratedText text(&*tokenizer_, stops);
    for (const char byte : bytes) text.Add(static_cast<unsigned char>(byte));
    text.Finish();
    return {text.stop() == nullptr ? "" : *text.stop(), std::string(text.text())};
  }

  const StopStrings none_{{}};
  std::optional<model::Tokenizer> tokenizer_;
};

using Texts = std::vector<std::string>;

TEST_F(GeneratedTextTest, HoldsBackACharacterUntilItIsWhole) {
  EXPECT_EQ(Pieces({'a', 0xc3, 0xa9, 'b'}), (Texts{"a", "", "\u00e9", "b", ""}));
  EXPECT_EQ(Pieces({0xf0, 0x9f, 0x98, 0x80}), (Texts{"", "", "", "\U0001f600", ""}));
}

TEST_F(GeneratedTextTest, ShowsAtOnceWhatCanNoLongerBecomeACharacter) {
  EXPECT_EQ(Pieces({0xff, 0x80, 'a'}), (Texts{kReplaced, kReplaced, "a", ""}));
  EXPECT_EQ(Pieces({0xe2, 0x82, 'a'}), (Texts{"", "", std::string(kReplaced) + "a", ""}));
  EXPECT_EQ(Pieces({0xe0, 0x80}), (Texts{"", std::string(kReplaced) + kReplaced, ""}));
  EXPECT_EQ(Pieces({0xc3, 0xc3, 0xa9}), (Texts{"", kReplaced, "\u00e9", ""}));
}

TEST_F(GeneratedTextTest, EndsWithWhatWasHeldBack) {
  EXPECT_EQ(Pieces({'a', 0xf0, 0x9f}), (Texts{"a", "", "", kReplaced}));
  EXPECT_EQ(Pieces({}), (Texts{""}));
}

TEST_F(GeneratedTextTest, AnIdWithoutATokenAddsNothing) {
  EXPECT_EQ(Pieces({'a', 99999, -1, 'b'}), (Texts{"a", "", "", "b", ""}));
  EXPECT_EQ(Pieces({0xc3, 99999, 0xa9}), (Texts{"", "", "\u00e9", ""}));
  GeneratedText text(nullptr, none_);
  EXPECT_EQ(text.Add('a') + text.Finish(), "");
}

TEST_F(GeneratedTextTest, ThePiecesAreWholeAndTogetherTheDecodedText) {
  std::mt19937 random(4);
  const std::vector<int32_t> bytes = {'a',  0x80, 0x82, 0x90, 0x9f, 0xa0, 0xa9, 0xc0,
                                      0xc3, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0xf5, Id("hello")};
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> ids(random() % 12);
    for (int32_t& id : ids) id = bytes[random() % bytes.size()];
    std::string together;
    for (const std::string& piece : Pieces(ids)) {
      EXPECT_EQ(ReplaceInvalidUtf8(piece), piece);
      together += piece;
    }
    EXPECT_EQ(together, ReplaceInvalidUtf8(*tokenizer_->Decode(ids))) << "round " << round;
  }
}

TEST_F(GeneratedTextTest, StopsWhereTheTokensCutTheString) {
  EXPECT_EQ(StoppedBy({"lo w"}, "hello world"), (Stopped{"lo w", "hel"}));
  EXPECT_EQ(StoppedBy({"\u00e9\u00e9"}, "\u00e9a\u00e9\u00e9"),
            (Stopped{"\u00e9\u00e9", "\u00e9a"}));
  EXPECT_EQ(StoppedBy({"xyz"}, "hello"), (Stopped{"", "hello"}));
}

TEST_F(GeneratedTextTest, StopsWithinAToken) {
  const StopStrings stops({"el"});
  GeneratedText text(&*tokenizer_, stops);
  EXPECT_EQ(text.Add('a'), "a");
  EXPECT_EQ(text.stop(), nullptr);
  EXPECT_EQ(text.Add(Id("hello")), "hello");
  ASSERT_NE(text.stop(), nullptr);
  EXPECT_EQ(*text.stop(), "el");
  EXPECT_EQ(text.text(), "ah");
}

TEST_F(GeneratedTextTest, TheEarliestEndDecidesThenTheLongest) {
  EXPECT_EQ(StoppedBy({"world", "o"}, "hello world"), (Stopped{"o", "hell"}));
  EXPECT_EQ(StoppedBy({"bcde", "cd"}, "abcde"), (Stopped{"cd", "ab"}));
  EXPECT_EQ(StoppedBy({"d", "bcd", "cd"}, "abcd"), (Stopped{"bcd", "a"}));
}

TEST_F(GeneratedTextTest, KeepsTheFirstStop) {
  EXPECT_EQ(StoppedBy({"b", "d"}, "abcd"), (Stopped{"b", "a"}));
}

// It is what readers see. At the very end it is no stop: the stream has ended already.
TEST_F(GeneratedTextTest, StopsAtTheReplacementCharacterWhereItIsShown) {
  EXPECT_EQ(StoppedBy({kReplaced},
                      "a\xff"
                      "b"),
            (Stopped{kReplaced, "a"}));
  EXPECT_EQ(StoppedBy({kReplaced}, "a\xc3"), (Stopped{"", std::string("a") + kReplaced}));
}

}  // namespace
}  // namespace scalpel::spec
