// Reads the files of a tokenizer into one plain description, from which tokenizer.h makes a
// tokenizer.

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
  // Tokens, written in GPT-2's byte alphabet (where a space is "\u0120"), and their unique ids.
  Vocabulary vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // the first has the highest priority
  AddedTokens added;
  // Whether a space is put before each piece of text that does not begin with one: at the
  // beginning, and after each added token.
  bool add_prefix_space = false;
};

// Reads tokenizer.json if it exists, else vocab.json and merges.txt, and the added tokens in
// tokenizer_config.json, special_tokens_map.json and added_tokens.json, as AutoTokenizer of
// transformers does. Refuses, with an error that names the field, what would make the tokenizer
// other than GPT-2's, or what transformers 4.57 and 5 read differently. NOT_FOUND if none of
// tokenizer.json, vocab.json and merges.txt exists; otherwise INVALID_ARGUMENT, or OpenModelFile's
// PERMISSION_DENIED.
absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::filesystem::path& dir);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TOKENIZER_FILES_H_
