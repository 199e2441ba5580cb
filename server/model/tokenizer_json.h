// What the readers of a tokenizer's files share: the files' names, and JSON in them.

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

// Ids are in [0, kTokenIdMax].
inline constexpr int32_t kTokenIdMax = (1 << 22) - 1;

// INVALID_ARGUMENT: "FILE: PROBLEM".
absl::Status RefuseFile(absl::string_view file, absl::string_view problem);

// The field, or null where there is none or `object` is no object.
const nlohmann::json& Field(const nlohmann::json& object, const char* name);

bool IsTrue(const nlohmann::json& object, const char* name);

bool IsTokenId(const nlohmann::json& value);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TOKENIZER_JSON_H_
