// The numbers that a sweep's metrics and the answer's tokens are made of, from logits. Computed in
// double precision, each position by itself and in a fixed order: what comes out depends on that
// position's logits alone, not on what else is computed beside it, nor on threads or the CPU. All
// tensors are on the CPU.

#ifndef SCALPEL_SERVER_SPEC_METRICS_H_
#define SCALPEL_SERVER_SPEC_METRICS_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "proto/scalpel/v1/output.pb.h"
#include "server/model/tensor.h"
#include "server/model/tokenizer.h"

namespace scalpel::spec {

// Of each position, the logarithm of the sum of e^logit: a logit less it is that id's
// log-probability. `logits`: [positions, vocab] float32.
std::vector<double> Normalizers(const at::Tensor& logits);

// Log-probabilities, double, of the shape of `logits`: [vocab] or [positions, vocab] float32.
at::Tensor LogProbs(const at::Tensor& logits);

// e^log_prob of each, double and contiguous.
at::Tensor Probs(const at::Tensor& log_probs);

// Stands for a token where there is none.
inline constexpr int32_t kNoToken = -1;

// Ids of the k largest, by falling logit, then rising id. With a NaN among the logits there is no
// order, and each of the k is kNoToken.
std::vector<int32_t> TopIds(absl::Span<const float> logits, int32_t k);

// One entry of an answer's tokens: its id, text (without a tokenizer, none), logit and
// log-probability. Of kNoToken: NaN, and `log_prob_of` is not asked. `logits`: of one position.
void FillTokenLogit(const model::Tokenizer* tokenizer, absl::Span<const float> logits, int32_t id,
                    absl::FunctionRef<double(int32_t id)> log_prob_of, v1::TokenLogit* token);

// How many ids come before `id` in that order; NaN where there is none.
double RankOf(absl::Span<const float> logits, int32_t id);

// sum p (log p - log q), where an id without probability under p adds nothing. NaN where any of
// them is. `p`: exp(log_p).
double KlDivergence(absl::Span<const double> p, absl::Span<const double> log_p,
                    absl::Span<const double> log_q);

// The mean of -log p(token) over positions. `logits`: [positions, vocab] float32; `tokens`: what
// came at each.
double MeanLoss(const at::Tensor& logits, absl::Span<const int32_t> tokens);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_METRICS_H_
