#include "server/spec/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "server/kernels/log_softmax.h"
#include "server/kernels/math64.h"
#include "server/kernels/nan.h"
#include "server/kernels/threads.h"

namespace scalpel::spec {
namespace {

// Calls of_position(index, logits, vocab) for each position, on several threads.
void ForEachPosition(const at::Tensor& logits, auto of_position) {
  const at::Tensor rows = logits.contiguous();
  const float* data = rows.const_data_ptr<float>();
  const int64_t vocab = rows.size(-1);
  kernels::ParallelFor(rows.numel() / vocab, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) of_position(i, data + i * vocab, vocab);
  });
}

template <typename Float>
bool AnyNan(absl::Span<const Float> numbers) {
  return std::any_of(numbers.begin(), numbers.end(), [](Float x) { return std::isnan(x); });
}

}  // namespace

std::vector<double> Normalizers(const at::Tensor& logits) {
  std::vector<double> normalizers(logits.size(0));
  ForEachPosition(logits, [&](int64_t i, const float* row, int64_t vocab) {
    normalizers[i] = kernels::LogSumExp(row, vocab);
  });
  return normalizers;
}

at::Tensor LogProbs(const at::Tensor& logits) {
  const at::Tensor log_probs = at::empty(logits.sizes(), at::kDouble);
  double* made = log_probs.mutable_data_ptr<double>();
  ForEachPosition(logits, [&](int64_t i, const float* row, int64_t vocab) {
    kernels::LogSoftmax(row, made + i * vocab, vocab);
  });
  return log_probs;
}

at::Tensor Probs(const at::Tensor& log_probs) {
  const at::Tensor contiguous = log_probs.contiguous(), probs = at::empty_like(contiguous);
  kernels::Exp(contiguous.const_data_ptr<double>(), probs.mutable_data_ptr<double>(),
               probs.numel());
  return probs;
}

std::vector<int32_t> TopIds(absl::Span<const float> logits, int32_t k) {
  if (AnyNan(logits)) return std::vector<int32_t>(k, kNoToken);
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + k, ids.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  ids.resize(k);
  return ids;
}

void FillTokenLogit(const model::Tokenizer* tokenizer, absl::Span<const float> logits, int32_t id,
                    absl::FunctionRef<double(int32_t id)> log_prob_of, v1::TokenLogit* token) {
  const bool none = id == kNoToken;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  token->set_token_id(id);
  if (tokenizer != nullptr && !none) token->set_token(tokenizer->TokenText(id));
  token->set_logit(none ? kNan : logits[id]);
  token->set_log_prob(none ? kNan : kernels::OneNan(static_cast<float>(log_prob_of(id))));
}

double RankOf(absl::Span<const float> logits, int32_t id) {
  if (AnyNan(logits)) return std::numeric_limits<double>::quiet_NaN();
  int64_t rank = 0;
  for (int32_t other = 0; other < static_cast<int32_t>(logits.size()); ++other)
    rank += logits[other] > logits[id] || (logits[other] == logits[id] && other < id);
  return static_cast<double>(rank);
}

double KlDivergence(absl::Span<const double> p, absl::Span<const double> log_p,
                    absl::Span<const double> log_q) {
  if (AnyNan(log_p) || AnyNan(log_q)) return std::numeric_limits<double>::quiet_NaN();
  return kernels::KlDivergence(p.data(), log_p.data(), log_q.data(),
                               static_cast<int64_t>(p.size()));
}

double MeanLoss(const at::Tensor& logits, absl::Span<const int32_t> tokens) {
  const at::Tensor rows = logits.contiguous();
  const float* row = rows.const_data_ptr<float>();
  double sum = 0;
  size_t position = 0;
  for (const double normalizer : Normalizers(rows)) {
    sum += normalizer - row[tokens[position++]];
    row += rows.size(1);
  }
  return sum / static_cast<double>(rows.size(0));
}

}  // namespace scalpel::spec
