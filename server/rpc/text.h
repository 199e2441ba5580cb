// The methods Tokenize and Detokenize.

#ifndef SCALPEL_SERVER_RPC_TEXT_H_
#define SCALPEL_SERVER_RPC_TEXT_H_

#include "absl/status/statusor.h"
#include "proto/scalpel/v1/service.pb.h"
#include "server/contract/limits.h"
#include "server/spec/plan.h"

namespace scalpel::rpc {

// Returns the ids and the texts of the tokens of a text. FAILED_PRECONDITION: the model has no
// tokenizer; the message says why. INVALID_ARGUMENT, by field: the text is too long, or cannot be
// tokenized. Thread-safe.
absl::StatusOr<v1::TokenizeResponse> Tokenize(const v1::TokenizeRequest& request,
                                              const spec::ModelFacts& facts, const Limits& limits);
// Returns the bytes and the text of a list of token ids; the text has U+FFFD for invalid UTF-8.
// FAILED_PRECONDITION: the model has no tokenizer. INVALID_ARGUMENT, by field: an id is not a
// token, or the text is too long. Thread-safe.
absl::StatusOr<v1::DetokenizeResponse> Detokenize(const v1::DetokenizeRequest& request,
                                                  const spec::ModelFacts& facts,
                                                  const Limits& limits);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_TEXT_H_
