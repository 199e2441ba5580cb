// A small vocabulary, and tests of tokenizers in a folder of their own.

#ifndef SCALPEL_TESTS_UNIT_MODEL_TOKENIZER_FIXTURE_H_
#define SCALPEL_TESTS_UNIT_MODEL_TOKENIZER_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "server/model/tokenizer.h"
#include "tests/unit/model/temp_folder.h"

namespace scalpel::model {

using Json = nlohmann::json;

inline constexpr char kSpace[] = "\u0120";  // the space in the byte alphabet
inline constexpr size_t kNoLimit = size_t{1} << 40;

// A vocabulary in which the token of byte b has id b, then the merges' results from 256 on.
struct TinyVocabulary {
  Json tokens = Json::object();
  std::vector<std::pair<std::string, std::string>> merges;

  TinyVocabulary() {
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

  static std::string Utf8(uint32_t code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
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
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(words));
  }

  void ExpectTokenizerJsonRefused(const Json& tokenizer, const std::string& words) {
    Write(dir_ / "tokenizer.json", tokenizer.dump());
    ExpectRefused(words);
  }

  int32_t Id(const std::string& token) const { return vocabulary_.Id(token); }

  TinyVocabulary vocabulary_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_TESTS_UNIT_MODEL_TOKENIZER_FIXTURE_H_
