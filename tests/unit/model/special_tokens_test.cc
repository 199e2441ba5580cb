#include "server/model/special_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/unit/model/tokenizer_fixture.h"

namespace scalpel::model {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

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

// A token of the vocabulary that a file names is found inside a word, where no merge could reach; a
// new one has the next id. What transformers gives for each is in tests/parity/test_tokenizer.py.
TEST_F(TokenizerTest, ReadsSpecialTokensFromEveryFile) {
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
TEST_F(TokenizerTest, AddedTokensDecoderReplacesTheOtherFiles) {
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

TEST_F(TokenizerTest, HonoursStripAndSingleWordFlags) {
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

TEST_F(TokenizerTest, HonoursFlagsInTokenizerJson) {
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

TEST_F(TokenizerTest, SplitsSpecialTokensIfTheConfigSaysSo) {
  WriteVocabulary();
  Write(dir_ / "tokenizer_config.json", R"({"split_special_tokens": true, "pad_token": "aaa"})");
  Write(dir_ / "added_tokens.json",
        "{\"<old>\": " + std::to_string(vocabulary_.tokens.size()) + "}");
  const Tokenizer tokenizer = Loaded();
  EXPECT_EQ(tokenizer.Encode("<|endoftext|>", kNoLimit)->size(), 13u);
  EXPECT_EQ(tokenizer.Encode("<old>", kNoLimit)->size(), 1u);  // it is not special
}

TEST_F(TokenizerTest, AddsTheDefaultTokensOfTheClass) {
  vocabulary_.tokens.erase("<|endoftext|>");
  const int32_t next = static_cast<int32_t>(vocabulary_.tokens.size());
  WriteVocabulary();
  EXPECT_THAT(*Loaded().Encode("<|endoftext|>", kNoLimit), ElementsAre(next));
  Write(dir_ / "tokenizer_config.json",
        R"({"bos_token": null, "eos_token": null, "unk_token": null})");
  EXPECT_EQ(Loaded().Encode("<|endoftext|>", kNoLimit)->size(), 13u);
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

TEST_F(TokenizerTest, RefusesMalformedTokens) {
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

}  // namespace
}  // namespace scalpel::model
