#include "server/spec/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace scalpel::spec {
namespace {

// Rows of log-probabilities made at once: they are twice as large as the logits.
constexpr int64_t kLossRows = 16;

// What ids are ordered by.
float OrderKey(float logit) {
  return std::isnan(logit) ? -std::numeric_limits<float>::infinity() : logit;
}

}  // namespace

at::Tensor LogProbs(const at::Tensor& logits) {
  // This kernel takes one row at a time; a sum over a single long row would be split over threads.
  return at::log_softmax(logits, -1, at::kDouble);
}

std::vector<int32_t> TopIds(absl::Span<const float> logits, int32_t k) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + k, ids.end(), [&](int32_t a, int32_t b) {
    const float left = OrderKey(logits[a]), right = OrderKey(logits[b]);
    return left != right ? left > right : a < b;
  });
  ids.resize(k);
  return ids;
}

int64_t RankOf(absl::Span<const float> logits, int32_t id) {
  const float own = OrderKey(logits[id]);
  int64_t rank = 0;
  for (int32_t other = 0; other < static_cast<int32_t>(logits.size()); ++other) {
    const float key = OrderKey(logits[other]);
    rank += key > own || (key == own && other < id);
  }
  return rank;
}

double KlDivergence(absl::Span<const double> p, absl::Span<const double> log_p,
                    absl::Span<const double> log_q) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] != 0) sum += p[i] * (log_p[i] - log_q[i]);
  }
  return sum;
}

double MeanLoss(const at::Tensor& logits, absl::Span<const int32_t> tokens) {
  double sum = 0;
  for (int64_t first = 0; first < logits.size(0); first += kLossRows) {
    const at::Tensor log_probs =
        LogProbs(logits.narrow(0, first, std::min(kLossRows, logits.size(0) - first)));
    for (int64_t i = 0; i < log_probs.size(0); ++i) {
      sum -= log_probs.const_data_ptr<double>()[i * log_probs.size(1) + tokens[first + i]];
    }
  }
  return sum / static_cast<double>(logits.size(0));
}

}  // namespace scalpel::spec
