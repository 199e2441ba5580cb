// Reads which tokens a tokenizer's files add to the vocabulary, and with which flags, as
// AutoTokenizer of transformers 4.57 (with a fast tokenizer) reads them.

#ifndef SCALPEL_SERVER_MODEL_SPECIAL_TOKENS_H_
#define SCALPEL_SERVER_MODEL_SPECIAL_TOKENS_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "server/model/added_tokens.h"

namespace scalpel::model {

// The parsed files of a folder. Each is a JSON object, empty if the file does not exist.
struct TokenFiles {
  nlohmann::json tokenizer_config;    // tokenizer_config.json
  nlohmann::json special_tokens_map;  // special_tokens_map.json
  nlohmann::json added_tokens;        // added_tokens.json
  nlohmann::json tokenizer;           // tokenizer.json
  bool is_gpt2_class = true;          // whether GPT2Tokenizer's default roles apply
};

// Returns all added tokens with their ids. INVALID_ARGUMENT, naming the file and the token, if
// transformers would not accept a file or would give a token another id than the file says.
absl::StatusOr<AddedTokens> ReadAddedTokens(const TokenFiles& files, const Vocabulary& vocabulary);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_SPECIAL_TOKENS_H_
