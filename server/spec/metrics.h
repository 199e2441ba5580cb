// Functions of logits that sweeps' metrics and top-k answers are made of. They compute in double
// precision and in a fixed order, each position by itself: the bits of a result depend only on the
// logits of its position, not on other positions, the threads or the CPU. All tensors are on the
// CPU.

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

// Returns ln(sum of e^logit) of each position. The log-probability of an id is its logit minus this
// number. `logits`: [positions, vocab] float32.
std::vector<double> Normalizers(const at::Tensor& logits);

// Returns the log-probabilities, double, in the shape of `logits`: [vocab] or [positions, vocab]
// float32.
at::Tensor LogProbs(const at::Tensor& logits);

// Returns e^log_prob of each element, double and contiguous.
at::Tensor Probs(const at::Tensor& log_probs);

// The id that stands for "no token".
inline constexpr int32_t kNoToken = -1;

// Returns the ids of the k largest logits, in order of descending logit and then ascending id. If
// any logit is NaN there is no such order, and all k ids are kNoToken. 0 <= k <= logits.size().
std::vector<int32_t> TopIds(absl::Span<const float> logits, int32_t k);

// Fills `token`: its id, text (if `tokenizer` is not null), logit and log-probability. `logits` are
// those of one position; `log_prob_of` returns the log-probability of an id. For kNoToken the
// numbers are NaN, and `log_prob_of` is not called.
void FillTokenLogit(const model::Tokenizer* tokenizer, absl::Span<const float> logits, int32_t id,
                    absl::FunctionRef<double(int32_t id)> log_prob_of, v1::TokenLogit* token);

// Returns how many ids come before `id` in the order of TopIds; NaN if any logit is NaN.
double RankOf(absl::Span<const float> logits, int32_t id);

// Returns the sum of p (log p - log q) in nats, to which an id with p = 0 adds nothing; NaN if any
// logarithm is NaN. `p` must be exp(log_p).
double KlDivergence(absl::Span<const double> p, absl::Span<const double> log_p,
                    absl::Span<const double> log_q);

// Returns the mean of -log p(token) over positions, in nats. `logits`: [positions, vocab] float32.
// `tokens`: the id that follows each position.
double MeanLoss(const at::Tensor& logits, absl::Span<const int32_t> tokens);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_METRICS_H_
