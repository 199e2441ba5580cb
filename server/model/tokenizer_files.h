// Reads a tokenizer's files into one plain description; the algorithm is in tokenizer.cc.

#ifndef SCALPEL_SERVER_MODEL_TOKENIZER_FILES_H_
#define SCALPEL_SERVER_MODEL_TOKENIZER_FILES_H_

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/added_tokens.h"

namespace scalpel::model {

struct TokenizerFiles {
  // Tokens in GPT-2's byte alphabet (a space is "\u0120") and their ids; ids are unique.
  Vocabulary vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // the first has the highest priority
  AddedTokens added;
  // A space goes before text that has none: the whole text, and what follows an added token.
  bool add_prefix_space = false;
};

// Reads tokenizer.json, as transformers' AutoTokenizer does where it exists, or else vocab.json and
// merges.txt; and what tokenizer_config.json, special_tokens_map.json and added_tokens.json say of
// tokens. Whatever would make the tokenizer another than GPT-2's, or is read differently by
// transformers 4.57 and 5, is refused by name. Errors: NOT_FOUND if there is neither tokenizer.json
// nor vocab.json nor merges.txt, else INVALID_ARGUMENT.
absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::filesystem::path& dir);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TOKENIZER_FILES_H_
