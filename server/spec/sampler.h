// The choice of a generation's next token from the logits of the last position: the processors of
// HuggingFace transformers' `generate`, in their order, then the most likely token or a draw. A
// choice depends on its arguments alone, with the same bits on every CPU. All functions are
// thread-safe and run on the caller's thread.

#ifndef SCALPEL_SERVER_SPEC_SAMPLER_H_
#define SCALPEL_SERVER_SPEC_SAMPLER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "proto/scalpel/v1/generate.pb.h"
#include "server/base/violations.h"

namespace scalpel::spec {

// Checks how tokens are chosen, and fills in the defaults: a repetition penalty of 1, and with
// `sample` a temperature of 1. Top-k, top-p and min-p stay absent where they are.
void CheckSampling(v1::Sampling& sampling, int64_t vocab_size, const std::string& field,
                   Violations& violations);

// Returns the logits as the processors leave them, -infinity for tokens that are excluded. All are
// computed in float32; the probabilities that top-p and min-p compare are rounded to float32 only
// once. `sampling`: as CheckSampling leaves it. `logits`: one for each token of the vocabulary,
// none of them NaN. `sequence`: the tokens so far, the prompt's included. `banned`: tokens that may
// not come yet.
std::vector<float> Processed(absl::Span<const float> logits, const v1::Sampling& sampling,
                             absl::Span<const int32_t> sequence, absl::Span<const int32_t> banned);

// Which random number a draw takes.
struct Draw {
  uint64_t seed = 0;
  int32_t prompt = 0;  // index in the request
  int32_t continuation = 0;
  int32_t step = 0;
};

struct Choice {
  int32_t id;
  float log_prob;           // under the softmax of the logits
  float sampling_log_prob;  // under the distribution that it was drawn from; 0 where none is drawn
};

// Chooses the next token, from arguments as those of Processed. Returns nullopt if there is none: a
// logit is NaN or infinity, or becomes infinity when it is processed, or no token is left.
std::optional<Choice> Choose(absl::Span<const float> logits, const v1::Sampling& sampling,
                             absl::Span<const int32_t> sequence, absl::Span<const int32_t> banned,
                             const Draw& draw);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_SAMPLER_H_
