// Reads a tokenizer's files into one plain description; the algorithm is in tokenizer.cc.

#ifndef SCALPEL_SERVER_MODEL_TOKENIZER_FILES_H_
#define SCALPEL_SERVER_MODEL_TOKENIZER_FILES_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace scalpel::model {

// Ids are in [0, kTokenIdMax].
inline constexpr int32_t kTokenIdMax = (1 << 22) - 1;

// A token that is found in the text as it stands, before anything is split or merged.
struct AddedToken {
  std::string content;  // plain UTF-8, not in the byte alphabet; not empty
  int32_t id;
  // HuggingFace looks for those that are not "normalized" first.
  bool normalized;
};

struct TokenizerFiles {
  // Tokens in GPT-2's byte alphabet (a space is "\u0120") and their ids; ids are unique.
  std::map<std::string, int32_t> vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // the first has the highest priority
  std::vector<AddedToken> added;                            // contents are unique
};

// Reads tokenizer.json, as GPT2TokenizerFast does where it exists, or else vocab.json and
// merges.txt; the special tokens of tokenizer_config.json and special_tokens_map.json, and those
// of added_tokens.json, count too. Whatever would make the tokenizer another than GPT-2's is
// refused by name. Errors: NOT_FOUND if there are no such files, else INVALID_ARGUMENT.
absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::filesystem::path& dir);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TOKENIZER_FILES_H_
