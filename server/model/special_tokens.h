// Reads which tokens a tokenizer's files add to the vocabulary, and with which flags, as
// AutoTokenizer of transformers 4.57 (with a fast tokenizer) reads them.

#ifndef SCALPEL_SERVER_MODEL_SPECIAL_TOKENS_H_
#define SCALPEL_SERVER_MODEL_SPECIAL_TOKENS_H_

#include "absl/status/statusor.h"
#include "server/model/added_tokens.h"
#include "server/model/tokenizer_json.h"

namespace scalpel::model {

// Returns all added tokens with their ids. INVALID_ARGUMENT, naming the file and the token, if
// transformers would not accept a file or would give a token another id than the file says.
absl::StatusOr<AddedTokens> ReadAddedTokens(const TokenFiles& files, const Vocabulary& vocabulary);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_SPECIAL_TOKENS_H_
