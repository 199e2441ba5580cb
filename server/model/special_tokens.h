// Which tokens the files of a folder add beside the vocabulary, with which flags: as transformers
// 4.57's AutoTokenizer, its fast one, reads them.

#ifndef SCALPEL_SERVER_MODEL_SPECIAL_TOKENS_H_
#define SCALPEL_SERVER_MODEL_SPECIAL_TOKENS_H_

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "server/model/added_tokens.h"

namespace scalpel::model {

// The files as they are; each is a JSON object, empty where there is no such file.
struct TokenFiles {
  nlohmann::json tokenizer_config;    // tokenizer_config.json
  nlohmann::json special_tokens_map;  // special_tokens_map.json
  nlohmann::json added_tokens;        // added_tokens.json
  nlohmann::json tokenizer;           // tokenizer.json
  bool is_gpt2_class = true;          // the class has GPT2Tokenizer's own defaults
};

// Every token that is found in text as it stands. INVALID_ARGUMENT, naming the file and the token,
// where a file says what HuggingFace's reader does not take, or where it gives a token another id
// than a file says.
absl::StatusOr<AddedTokens> ReadAddedTokens(const TokenFiles& files, const Vocabulary& vocabulary);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_SPECIAL_TOKENS_H_
