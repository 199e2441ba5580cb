#include "server/model/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "server/base/utf8.h"
#include "server/model/unicode.h"
#include "tests/unit/model/temp_folder.h"

namespace scalpel::model {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

constexpr char kSpace[] = "\u0120";  // the space in the byte alphabet
constexpr size_t kNoLimit = size_t{1} << 40;

std::string Utf8(uint32_t code) {
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
}

// A vocabulary in which the token of byte b has id b, then the merges' results from 256 on.
struct Vocabulary {
  Json tokens = Json::object();
  std::vector<std::pair<std::string, std::string>> merges;

  Vocabulary() {
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool itself = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
      tokens[Utf8(itself ? byte : next++)] = byte;
    }
    const std::string space = kSpace;
    for (const auto& [left, right] :
         std::vector<std::pair<std::string, std::string>>{{"h", "e"},
                                                          {"l", "l"},
                                                          {"ll", "o"},
                                                          {"he", "llo"},
                                                          {space, "hello"},
                                                          {"a", "a"},
                                                          {"aa", "a"},
                                                          {"1", "2"},
                                                          {"'", "s"},
                                                          {space, "!"},
                                                          {"s", "s"}}) {
      AddMerge(left, right);
    }
    tokens["<|endoftext|>"] = tokens.size();
  }

  void AddMerge(const std::string& left, const std::string& right) {
    tokens[left + right] = tokens.size();
    merges.emplace_back(left, right);
  }

  int32_t Id(const std::string& token) const { return tokens.at(token).get<int32_t>(); }

  std::string MergesText() const {
    std::string text = "#version: 0.2\n";
    for (const auto& [left, right] : merges) text += left + " " + right + "\n";
    return text;
  }

  // tokenizer.json; merges as strings, or as pairs.
  Json TokenizerJson(bool pairs) const {
    Json list = Json::array();
    for (const auto& [left, right] : merges) {
      list.push_back(pairs ? Json{left, right} : Json(left + " " + right));
    }
    const Json end = {{"id", Id("<|endoftext|>")},
                      {"content", "<|endoftext|>"},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", true},
                      {"special", true}};
    const Json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
    return {{"normalizer", nullptr},
            {"pre_tokenizer", byte_level},
            {"post_processor", byte_level},
            {"decoder", byte_level},
            {"added_tokens", Json::array({end})},
            {"model",
             {{"type", "BPE"},
              {"dropout", nullptr},
              {"unk_token", nullptr},
              {"vocab", tokens},
              {"merges", list}}}};
  }
};

class TokenizerTest : public TempFolderTest {
 protected:
  void WriteVocabulary() {
    Write(dir_ / "vocab.json", vocabulary_.tokens.dump());
    Write(dir_ / "merges.txt", vocabulary_.MergesText());
  }

  Tokenizer Loaded() {
    absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(dir_);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return *std::move(tokenizer);
  }

  void ExpectRefused(const std::string& words) {
    const absl::Status status = Tokenizer::Load(dir_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << words;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  }

  void ExpectTokenizerJsonRefused(const Json& tokenizer, const std::string& words) {
    Write(dir_ / "tokenizer.json", tokenizer.dump());
    ExpectRefused(words);
  }

  int32_t Id(const std::string& token) const { return vocabulary_.Id(token); }

  Vocabulary vocabulary_;
};

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
TEST_F(TokenizerTest, SplitsWordsAsGpt2) {
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

TEST_F(TokenizerTest, FindsSpecialTokensInText) {
  WriteVocabulary();
  const Tokenizer tokenizer = Loaded();
  const int32_t end = Id("<|endoftext|>");
  EXPECT_THAT(*tokenizer.Encode("a<|endoftext|><|endoftext|>hello", kNoLimit),
              ElementsAre('a', end, end, Id("hello")));
  EXPECT_EQ(tokenizer.Encode("<|endoftext", kNoLimit)->size(), 11u);
  EXPECT_EQ(*tokenizer.Decode({end, 'a'}), "<|endoftext|>a");
}

TEST_F(TokenizerTest, AddedTokensAreFoundLongestFirstAndSpecialOnesBeforeOthers) {
  Json tokenizer_json = vocabulary_.TokenizerJson(true);
  const int32_t base = static_cast<int32_t>(vocabulary_.tokens.size());
  const auto add = [&](const char* content, int32_t id, bool normalized) {
    tokenizer_json["added_tokens"].push_back(
        {{"id", id}, {"content", content}, {"normalized", normalized}});
  };
  add("<x", base, true);
  add("<x>", base + 1, true);
  add(">!", base + 2, false);
  Write(dir_ / "tokenizer.json", tokenizer_json.dump());
  const Tokenizer tokenizer = Loaded();
  EXPECT_THAT(*tokenizer.Encode("<x>", kNoLimit), ElementsAre(base + 1));
  EXPECT_THAT(*tokenizer.Encode("<x>!", kNoLimit), ElementsAre(base, base + 2));
  EXPECT_EQ(tokenizer.vocab_size(), base + 3);
}

TEST_F(TokenizerTest, TokenizerJsonEqualsVocabAndMerges) {
  WriteVocabulary();
  const std::string text = "hello aaaa 12's ! \u00e9<|endoftext|>";
  const auto expected = *Loaded().Encode(text, kNoLimit);
  fs::remove(dir_ / "vocab.json");
  fs::remove(dir_ / "merges.txt");
  for (const bool pairs : {false, true}) {
    Write(dir_ / "tokenizer.json", vocabulary_.TokenizerJson(pairs).dump());
    EXPECT_EQ(*Loaded().Encode(text, kNoLimit), expected);
  }
}

// A token of the vocabulary that a file names is found inside a word, where no merge could reach; a
// new one has the next id. What transformers gives for each is in tests/parity/test_tokenizer.py.
TEST_F(TokenizerTest, SpecialTokensOfEveryFileCount) {
  WriteVocabulary();
  const int32_t next = static_cast<int32_t>(vocabulary_.tokens.size());
  Write(dir_ / "tokenizer_config.json", R"({"eos_token": "hello", "mask_token": "new"})");
  Write(dir_ / "special_tokens_map.json",
        R"({"pad_token": {"content": "aaa"}, "additional_special_tokens": ["12", "<s>"]})");
  Write(dir_ / "added_tokens.json", "{\"<old>\": " + std::to_string(next) + "}");
  const Tokenizer tokenizer = Loaded();
  EXPECT_THAT(*tokenizer.Encode("xhelloaaa0123", kNoLimit),
              ElementsAre('x', Id("hello"), Id("aaa"), '0', Id("12"), '3'));
  EXPECT_THAT(*tokenizer.Encode("<old>new<s>", kNoLimit), ElementsAre(next, next + 1, next + 2));
  EXPECT_EQ(*tokenizer.Decode({next, Id("12")}), "<old>12");
}

// transformers 4.57 then reads no other file of tokens.
TEST_F(TokenizerTest, TheConfigsAddedTokensStandForTheOtherFiles) {
  WriteVocabulary();
  const std::string next = std::to_string(vocabulary_.tokens.size());
  Write(dir_ / "tokenizer_config.json",
        R"({"added_tokens_decoder": {")" + next + R"(": {"content": "<new>"}}})");
  Write(dir_ / "special_tokens_map.json", R"({"pad_token": "aaa"})");
  Write(dir_ / "added_tokens.json", R"({"<old>": 7})");
  const Tokenizer tokenizer = Loaded();
  EXPECT_THAT(*tokenizer.Encode("aaaa<new>", kNoLimit),
              ElementsAre(Id("aa"), Id("aa"), Id("<|endoftext|>") + 1));
  EXPECT_EQ(tokenizer.Encode("<old>", kNoLimit)->size(), 5u);
}

TEST_F(TokenizerTest, TokensWithFlagsTakeSpaceAndAskForWordsEnd) {
  WriteVocabulary();
  const int32_t next = static_cast<int32_t>(vocabulary_.tokens.size());
  Write(dir_ / "special_tokens_map.json",
        R"({"mask_token": {"content": "<m>", "lstrip": true},
            "cls_token": {"content": "<c>", "rstrip": true},
            "sep_token": {"content": "sep", "single_word": true}})");
  const Tokenizer tokenizer = Loaded();
  const int32_t sep = next, cls = next + 1, mask = next + 2;
  EXPECT_THAT(*tokenizer.Encode("a \t\u3000<m> b", kNoLimit), ElementsAre('a', mask, ' ', 'b'));
  EXPECT_THAT(*tokenizer.Encode("a <c>\n\u00a0b", kNoLimit), ElementsAre('a', ' ', cls, 'b'));
  EXPECT_THAT(*tokenizer.Encode("<c> <m>", kNoLimit), ElementsAre(cls, mask));
  EXPECT_THAT(*tokenizer.Encode("sep-sep!", kNoLimit), ElementsAre(sep, '-', sep, '!'));
  for (const char* text : {"asep", "sepa", "sep_", "1sep", "\u00e9sep", "sep\u0301"}) {
    EXPECT_THAT(*tokenizer.Encode(text, kNoLimit), testing::Not(testing::Contains(sep))) << text;
  }
  // Space is taken without end, and a text of it is no longer than its tokens.
  EXPECT_THAT(*tokenizer.Encode("<c>" + std::string(5000, ' '), 1), ElementsAre(cls));
}

TEST_F(TokenizerTest, FlagsOfTokenizerJsonHold) {
  Json tokenizer_json = vocabulary_.TokenizerJson(true);
  const int32_t next = static_cast<int32_t>(vocabulary_.tokens.size());
  tokenizer_json["added_tokens"].push_back(
      {{"id", next}, {"content", "<m>"}, {"lstrip", true}, {"rstrip", true}});
  tokenizer_json["added_tokens"].push_back(
      {{"id", next + 1}, {"content", "ab"}, {"single_word", true}, {"normalized", false}});
  Write(dir_ / "tokenizer.json", tokenizer_json.dump());
  const Tokenizer tokenizer = Loaded();
  EXPECT_THAT(*tokenizer.Encode("x  <m>  ab cab", kNoLimit),
              ElementsAre('x', next, next + 1, ' ', 'c', 'a', 'b'));
}

TEST_F(TokenizerTest, SplitsSpecialTokensWhereTheConfigSaysSo) {
  WriteVocabulary();
  Write(dir_ / "tokenizer_config.json", R"({"split_special_tokens": true, "pad_token": "aaa"})");
  Write(dir_ / "added_tokens.json",
        "{\"<old>\": " + std::to_string(vocabulary_.tokens.size()) + "}");
  const Tokenizer tokenizer = Loaded();
  EXPECT_EQ(tokenizer.Encode("<|endoftext|>", kNoLimit)->size(), 13u);
  EXPECT_EQ(tokenizer.Encode("<old>", kNoLimit)->size(), 1u);  // it is not special
}

TEST_F(TokenizerTest, APrefixSpaceGoesBeforeEveryPieceOfText) {
  WriteVocabulary();
  Write(dir_ / "tokenizer_config.json", R"({"add_prefix_space": true})");
  const Tokenizer tokenizer = Loaded();
  const int32_t end = Id("<|endoftext|>"), hello = Id(std::string(kSpace) + "hello");
  EXPECT_THAT(*tokenizer.Encode("hello<|endoftext|>hello<|endoftext|> hello", kNoLimit),
              ElementsAre(hello, end, hello, end, hello));
  EXPECT_THAT(*tokenizer.Encode("", kNoLimit), IsEmpty());
}

TEST_F(TokenizerTest, ATokenThatTheVocabularyLacksIsNewWhereTheClassHasIt) {
  vocabulary_.tokens.erase("<|endoftext|>");
  const int32_t next = static_cast<int32_t>(vocabulary_.tokens.size());
  WriteVocabulary();
  EXPECT_THAT(*Loaded().Encode("<|endoftext|>", kNoLimit), ElementsAre(next));
  Write(dir_ / "tokenizer_config.json",
        R"({"bos_token": null, "eos_token": null, "unk_token": null})");
  EXPECT_EQ(Loaded().Encode("<|endoftext|>", kNoLimit)->size(), 13u);
}

TEST_F(TokenizerTest, ATemplateThatAddsNothingIsNoChange) {
  const Json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json token = {{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}};
  const auto processor = [](const Json& single) {
    return Json{{"type", "TemplateProcessing"},
                {"single", single},
                {"pair", Json::array()},
                {"special_tokens", Json::object()}};
  };
  Json tokenizer = vocabulary_.TokenizerJson(true);
  for (const Json& identity :
       {processor(Json::array({sequence})),
        Json{{"type", "Sequence"},
             {"processors", {processor(Json::array({sequence})), {{"type", "ByteLevel"}}}}}}) {
    tokenizer["post_processor"] = identity;
    Write(dir_ / "tokenizer.json", tokenizer.dump());
    EXPECT_THAT(*Loaded().Encode("hello", kNoLimit), ElementsAre(Id("hello")));
  }
  for (const Json& adds :
       {processor(Json::array({token, sequence})), processor(Json::array()),
        Json{{"type", "Sequence"}, {"processors", {processor(Json::array({sequence, token}))}}}}) {
    tokenizer["post_processor"] = adds;
    ExpectTokenizerJsonRefused(tokenizer, "adds tokens to the text, which is not supported");
  }
}

TEST_F(TokenizerTest, RefusesIdsThatTransformersWouldNotGive) {
  WriteVocabulary();
  const std::string size = std::to_string(vocabulary_.tokens.size());
  Write(dir_ / "added_tokens.json", R"({"<old>": 900})");
  ExpectRefused(
      "added_tokens.json: added token \"<old>\" has id 900 but transformers, whose fast "
      "tokenizer leaves no gaps, gives it " +
      size);
  Write(dir_ / "added_tokens.json", R"({"<old>": 900, "<new>": 900})");
  ExpectRefused("with id 900 contradicts");
  fs::remove(dir_ / "added_tokens.json");
  vocabulary_.tokens.erase("ss");
  vocabulary_.merges.pop_back();
  WriteVocabulary();
  Write(dir_ / "special_tokens_map.json", R"({"pad_token": "<pad>"})");
  ExpectRefused("which is another token's: the vocabulary's ids have gaps");
}

TEST_F(TokenizerTest, RefusesTokensThatAreNone) {
  WriteVocabulary();
  for (const auto& [file, json, words] : std::vector<std::array<std::string, 3>>{
           {"special_tokens_map.json", R"({"pad_token": 7})", "pad_token is neither a text nor"},
           {"special_tokens_map.json", R"({"additional_special_tokens": "<s>"})",
            "additional_special_tokens is not a list"},
           {"special_tokens_map.json", R"({"pad_token": {"content": "<p>", "lstrip": 1}})",
            "added token \"<p>\": lstrip is not true or false"},
           {"tokenizer_config.json", R"({"pad_token": {"content": "<p>"}})",
            "pad_token is neither a text nor an added token"},
           {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "<p>"}}})",
            "added token \"<p>\": its id is not an integer"},
           {"tokenizer_config.json", R"({"added_tokens_decoder": []})",
            "added_tokens_decoder is not an object"},
           {"tokenizer_config.json", R"({"extra_special_tokens": {"a": "<a>", "b": "<b>"}})",
            "several tokens that have no id"},
           {"added_tokens.json", R"({"": 1})", "an added token is empty"},
           {"added_tokens.json", R"({"<p>": "1"})", "its id is not an integer"}}) {
    Write(dir_ / file, json);
    ExpectRefused(file + ": ");
    ExpectRefused(words);
    fs::remove(dir_ / file);
  }
}

TEST_F(TokenizerTest, ClassesOtherThanGpt2sAreRefusedByName) {
  WriteVocabulary();
  Write(dir_ / "config.json", R"({"tokenizer_class": "BertTokenizer"})");
  ExpectRefused("config.json: tokenizer_class \"BertTokenizer\" is not supported");
  Write(dir_ / "tokenizer_config.json", R"({"tokenizer_class": "GPT2TokenizerFast"})");
  EXPECT_TRUE(Tokenizer::Load(dir_).ok());
  Write(dir_ / "tokenizer_config.json", R"({"tokenizer_class": "PreTrainedTokenizerFast"})");
  ExpectRefused("\"PreTrainedTokenizerFast\" needs tokenizer.json");
  // It has no tokens of its own.
  Json tokenizer = vocabulary_.TokenizerJson(true);
  tokenizer["added_tokens"] = Json::array();
  Write(dir_ / "tokenizer.json", tokenizer.dump());
  EXPECT_EQ(Loaded().Encode("<|endoftext|>", kNoLimit)->size(), 13u);
}

TEST_F(TokenizerTest, RefusesBadTextAndTooMuchOfIt) {
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

TEST_F(TokenizerTest, MergesALongWordInTime) {
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

TEST_F(TokenizerTest, AVocabularyWithoutAByteRefusesIt) {
  vocabulary_.tokens.erase("z");
  WriteVocabulary();
  EXPECT_THAT(std::string(Loaded().Encode("az", kNoLimit).status().message()),
              HasSubstr("the vocabulary has no token for the byte 122"));
}

TEST_F(TokenizerTest, SaysWhichFilesItLooksFor) {
  EXPECT_TRUE(absl::IsNotFound(Tokenizer::Load(dir_).status()));
  EXPECT_EQ(Tokenizer::Load(dir_).status().message(), "the model's folder has no tokenizer");
  Write(dir_ / "vocab.json", vocabulary_.tokens.dump());
  ExpectRefused("vocab.json: there is no merges.txt beside it, and no tokenizer.json");
}

TEST_F(TokenizerTest, RefusesBadVocabularies) {
  WriteVocabulary();
  for (const auto& [json, words] : std::map<std::string, std::string>{
           {"[]", "vocab.json: not a JSON object"},
           {"{}", "vocab.json: the vocabulary is empty"},
           {R"({"a": -1})", "token \"a\": its id is not an integer in [0, 4194303]"},
           {R"({"a": 4194304})", "its id is not an integer"},
           {R"({"a": "0"})", "its id is not an integer"},
           {R"({"a": 1, "b": 1})", "token \"b\": its id 1 is another token's too"},
           {R"({"a": 1, "a": 2})", "duplicate key \"a\""},
           {R"({"a": 0})", "merge 0 needs the token \"h\", which is not in the vocabulary"}}) {
    Write(dir_ / "vocab.json", json);
    ExpectRefused(words);
  }
}

TEST_F(TokenizerTest, RefusesBadMerges) {
  WriteVocabulary();
  for (const auto& [text, words] :
       std::map<std::string, std::string>{{"", "line 1 is not \"#version"},
                                          {"h e\n", "line 1 is not \"#version"},
                                          {"#version: 0.2\nh e", "does not end with a newline"},
                                          {"#version: 0.2\nhe\n", "line 2 is not two tokens"},
                                          {"#version: 0.2\nh e\n\n", "line 3 is not two tokens"},
                                          {"#version: 0.2\nh e l\n", "line 2 is not two tokens"}}) {
    Write(dir_ / "merges.txt", text);
    ExpectRefused("merges.txt: " + words);
  }
}

TEST_F(TokenizerTest, RefusesOtherTokenizersByName) {
  const std::map<std::string, std::pair<Json, std::string>> changes = {
      {"/model/type", {"WordPiece", "model.type is not supported; only BPE"}},
      {"/normalizer", {{{"type", "NFC"}}, "a normalizer is not supported"}},
      {"/pre_tokenizer",
       {{{"type", "Whitespace"}}, "pre_tokenizer of type \"Whitespace\" is not supported"}},
      {"/pre_tokenizer/use_regex", {false, "pre_tokenizer does not split words"}},
      {"/post_processor",
       {{{"type", "RobertaProcessing"}},
        "post_processor of type \"RobertaProcessing\" is not supported"}},
      {"/version", {"2.0", "version is not \"1.0\""}},
      {"/decoder", {{{"type", "Metaspace"}}, "decoder of type \"Metaspace\" is not supported"}},
      {"/model/dropout", {0.1, "model.dropout is not supported"}},
      {"/model/end_of_word_suffix", {"</w>", "model.end_of_word_suffix is not supported"}},
      {"/model/byte_fallback", {true, "model.byte_fallback is not supported"}},
      {"/model/ignore_merges", {true, "model.ignore_merges is not supported"}},
      {"/model/merges", {{"a"}, "model.merges[0] is not two tokens"}},
      {"/model/vocab", {nullptr, "the vocabulary is not an object"}},
      {"/added_tokens/0/lstrip", {nullptr, "\"<|endoftext|>\": lstrip is not true or false"}},
      {"/added_tokens/0/id", {7, "has id 7 but the vocabulary says"}},
      {"/added_tokens/0/content", {"", "an added token is empty"}},
  };
  for (const auto& [place, change] : changes) {
    Json tokenizer = vocabulary_.TokenizerJson(true);
    tokenizer[Json::json_pointer(place)] = change.first;
    ExpectTokenizerJsonRefused(tokenizer, change.second);
  }
  Json tokenizer = vocabulary_.TokenizerJson(true);
  tokenizer["pre_tokenizer"] = nullptr;
  ExpectTokenizerJsonRefused(tokenizer, "pre_tokenizer does not split words");
  tokenizer = vocabulary_.TokenizerJson(true);
  tokenizer["added_tokens"].push_back({{"id", 'a'}, {"content", "<new>"}});
  ExpectTokenizerJsonRefused(tokenizer, "added token \"<new>\" has id 97 but transformers");
}

TEST_F(TokenizerTest, RefusesWhatTheConfigChanges) {
  WriteVocabulary();
  for (const auto& [json, words] : std::map<std::string, std::string>{
           {R"({"add_bos_token": true})", "add_bos_token is not supported"},
           {R"({"add_eos_token": true})", "add_eos_token is not supported"},
           {R"({"add_prefix_space": null})", "add_prefix_space is not true or false"},
           {R"({"split_special_tokens": 1})", "split_special_tokens is not true or false"},
           {R"({"tokenizer_file": null})", "tokenizer_file names a file beside the folder's own"},
           {R"({"fast_tokenizer_files": ["tokenizer.4.0.0.json"]})", "fast_tokenizer_files"}}) {
    Write(dir_ / "tokenizer_config.json", json);
    ExpectRefused("tokenizer_config.json: " + words);
  }
  // With tokenizer.json its post-processor says it.
  Write(dir_ / "tokenizer_config.json", R"({"add_bos_token": true, "add_eos_token": true})");
  Write(dir_ / "tokenizer.json", vocabulary_.TokenizerJson(true).dump());
  EXPECT_THAT(*Loaded().Encode("hello", kNoLimit), ElementsAre(Id("hello")));
}

TEST(Utf8, InvalidSequencesAreReplacedAsPythonDoes) {
  EXPECT_EQ(ReplaceInvalidUtf8("a\u4e2d"), "a\u4e2d");
  EXPECT_EQ(ReplaceInvalidUtf8("\xe4\xb8"), "\uFFFD");  // a character cut short
  EXPECT_EQ(ReplaceInvalidUtf8("\xe4\xb8z"), "\uFFFDz");
  EXPECT_EQ(ReplaceInvalidUtf8("\x80\x80"), "\uFFFD\uFFFD");            // continuations alone
  EXPECT_EQ(ReplaceInvalidUtf8("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(ReplaceInvalidUtf8("\xf0\x9f\x98"), "\uFFFD");
}

}  // namespace
}  // namespace scalpel::model
