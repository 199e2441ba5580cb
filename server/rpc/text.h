// Tokenize and Detokenize.

#ifndef SCALPEL_SERVER_RPC_TEXT_H_
#define SCALPEL_SERVER_RPC_TEXT_H_

#include "absl/status/statusor.h"
#include "proto/scalpel/v1/service.pb.h"
#include "server/contract/limits.h"
#include "server/spec/plan.h"

namespace scalpel::rpc {

// Both answer FAILED_PRECONDITION when the model has no tokenizer, saying why, and INVALID_ARGUMENT
// by field otherwise.
absl::StatusOr<v1::TokenizeResponse> Tokenize(const v1::TokenizeRequest& request,
                                              const spec::ModelFacts& facts, const Limits& limits);
absl::StatusOr<v1::DetokenizeResponse> Detokenize(const v1::DetokenizeRequest& request,
                                                  const spec::ModelFacts& facts,
                                                  const Limits& limits);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_TEXT_H_
