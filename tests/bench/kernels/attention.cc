#include "server/kernels/attention.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "tests/bench/kernels/cases.h"
#include "tests/bench/kernels/expected.h"

namespace scalpel::bench {
namespace {

constexpr int64_t kHeads = 12, kHeadWidth = 64, kWidth = kHeads * kHeadWidth;
constexpr double kDivisor = 8;
constexpr int64_t kQueriesChecked = 8;

// Attention of the last `queries` positions of a prompt, over all heads. Queries, keys and values
// are side by side in one tensor, as the layer before leaves them.
class Attention {
 public:
  Attention(int64_t length, int64_t queries)
      : length_(length),
        queries_(queries),
        qkv_(at::randn({length, 3 * kWidth})),
        z_(at::empty({queries, kWidth})) {
    if (queries > 1)
      mask_ = at::full({length, length}, -std::numeric_limits<double>::infinity()).triu_(1);
    const int64_t count = std::min(queries, kQueriesChecked);
    for (int64_t i = 0; i < count; ++i)
      AddExpected(count == 1 ? 0 : i * (queries - 1) / (count - 1));
  }

  void Ours() {
    const float* qkv = qkv_.const_data_ptr<float>();
    kernels::AttentionRow row = {};
    row.length = length_;
    row.queries_first = length_ - queries_;
    row.q = {qkv + row.queries_first * 3 * kWidth, 3 * kWidth};
    row.k = {qkv + kWidth, 3 * kWidth};
    row.v = {qkv + 2 * kWidth, 3 * kWidth};
    row.z = z_.mutable_data_ptr<float>();
    kernels::Attend({.heads = kHeads,
                     .d_head = kHeadWidth,
                     .z_stride = kWidth,
                     .divisor = static_cast<float>(kDivisor)},
                    {&row, 1});
  }

  void Fused() {
    const at::Tensor z = at::scaled_dot_product_attention(
        Heads(0).unsqueeze(0), Heads(1).unsqueeze(0), Heads(2).unsqueeze(0), {}, 0.0, queries_ > 1);
    z_.view({queries_, kHeads, kHeadWidth}).copy_(z[0].transpose(0, 1));
  }

  void Products() {
    at::Tensor scores = at::bmm(Heads(0), Heads(1).transpose(1, 2)).mul_(1 / kDivisor);
    if (mask_.defined()) scores.add_(mask_);
    const at::Tensor z = at::bmm(at::softmax(scores, -1), Heads(2));
    z_.view({queries_, kHeads, kHeadWidth}).copy_(z.transpose(0, 1));
  }

  double Error() { return TakeError(z_, expected_); }

  // The operations for the scores and for the weighted values.
  double flops() const {
    const double q = static_cast<double>(queries_), keys = static_cast<double>(length_);
    return 4 * kWidth * q * (keys - (q - 1) / 2);
  }

 private:
  // Returns queries (0), keys (1) or values (2), [head, position, dimension].
  at::Tensor Heads(int64_t which) const {
    const at::Tensor all =
        qkv_.narrow(1, which * kWidth, kWidth).view({length_, kHeads, kHeadWidth});
    return (which == 0 ? all.narrow(0, length_ - queries_, queries_) : all).transpose(0, 1);
  }

  void AddExpected(int64_t query) {
    constexpr double kTolerance = 1e-5;
    const int64_t keys = length_ - queries_ + query + 1;
    const float* qkv = qkv_.const_data_ptr<float>();
    const auto at = [&](int64_t position, int64_t which, int64_t head) {
      return qkv + (position * 3 + which) * kWidth + head * kHeadWidth;
    };
    Expected row = {query * kWidth, std::vector<double>(kWidth), std::vector<double>(kWidth)};
    for (int64_t head = 0; head < kHeads; ++head) {
      std::vector<double> weights;
      double sum = 0;
      for (int64_t key = 0; key < keys; ++key) {
        double score = 0;
        for (int64_t d = 0; d < kHeadWidth; ++d)
          score += double{at(keys - 1, 0, head)[d]} * at(key, 1, head)[d];
        weights.push_back(std::exp(score / kDivisor));
        sum += weights.back();
      }
      for (int64_t key = 0; key < keys; ++key) {
        for (int64_t d = 0; d < kHeadWidth; ++d) {
          const double part = weights[key] / sum * at(key, 2, head)[d];
          row.values[head * kHeadWidth + d] += part;
          row.tolerances[head * kHeadWidth + d] += kTolerance * std::abs(part);
        }
      }
    }
    expected_.push_back(std::move(row));
  }

  int64_t length_, queries_;
  at::Tensor qkv_, z_, mask_;
  std::vector<Expected> expected_;
};

}  // namespace

std::vector<Case> AttentionCases() {
  std::vector<Case> cases;
  const auto add = [&](std::string name, int64_t length, int64_t queries) {
    const auto one = std::make_shared<Attention>(length, queries);
    const auto contestant = [&](std::string_view by, void (Attention::*run)()) {
      return Contestant{by, [one, run] { (*one.*run)(); }, [one] { return one->Error(); }};
    };
    cases.push_back(
        {std::move(name),
         one->flops(),
         0,
         {contestant("ours", &Attention::Ours), contestant("ATen SDPA", &Attention::Fused),
          contestant("ATen bmm", &Attention::Products)}});
  };
  for (const int64_t length : {64, 512, 1024}) add("T " + std::to_string(length), length, length);
  add("1 of T 1000", 1000, 1);
  return cases;
}

}  // namespace scalpel::bench
