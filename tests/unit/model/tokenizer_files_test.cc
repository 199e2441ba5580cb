// Which files of tokenizers are read, and which are refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "tests/unit/model/tokenizer_fixture.h"

namespace scalpel::model {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

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

TEST_F(TokenizerTest, AcceptsATemplateThatAddsNoTokens) {
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

TEST_F(TokenizerTest, RefusesOtherClassesByName) {
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

TEST_F(TokenizerTest, NamesTheFilesItLooksFor) {
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

TEST_F(TokenizerTest, RefusesUnsupportedFieldsOfTheConfig) {
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

}  // namespace
}  // namespace scalpel::model
