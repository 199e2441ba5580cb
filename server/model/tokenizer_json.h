// What the readers of a tokenizer's files share: the files with their names, and helpers for JSON.

#ifndef SCALPEL_SERVER_MODEL_TOKENIZER_JSON_H_
#define SCALPEL_SERVER_MODEL_TOKENIZER_JSON_H_

#include <cstdint>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace scalpel::model {

inline constexpr char kTokenizerFile[] = "tokenizer.json";
inline constexpr char kVocabFile[] = "vocab.json";
inline constexpr char kMergesFile[] = "merges.txt";
inline constexpr char kTokenizerConfigFile[] = "tokenizer_config.json";
inline constexpr char kSpecialTokensMapFile[] = "special_tokens_map.json";
inline constexpr char kAddedTokensFile[] = "added_tokens.json";

// The largest token id that is accepted.
inline constexpr int32_t kTokenIdMax = (1 << 22) - 1;

// The parsed files of a folder. Each is a JSON object, empty if the file does not exist.
struct TokenFiles {
  nlohmann::json tokenizer_config;    // tokenizer_config.json
  nlohmann::json special_tokens_map;  // special_tokens_map.json
  nlohmann::json added_tokens;        // added_tokens.json
  nlohmann::json tokenizer;           // tokenizer.json
  bool is_gpt2_class = true;          // whether GPT2Tokenizer's default roles apply
};

// Returns INVALID_ARGUMENT with the message "FILE: PROBLEM".
absl::Status RefuseFile(absl::string_view file, absl::string_view problem);

// Returns the field `name`, or a JSON null if `object` has none or is not an object.
const nlohmann::json& Field(const nlohmann::json& object, const char* name);

// Returns whether the field exists and is the boolean true.
bool IsTrue(const nlohmann::json& object, const char* name);

// Returns whether `value` is an integer in [0, kTokenIdMax].
bool IsTokenId(const nlohmann::json& value);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TOKENIZER_JSON_H_
