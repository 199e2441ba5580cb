#include "server/model/attention.h"

#include <cmath>

namespace scalpel::model {
namespace {

constexpr int kKeys = 0, kValues = 1;  // `which` of clean_keys

}  // namespace

ScoreScale ScoreScaleOf(const Gpt2Config& config, int32_t layer) {
  const double root =
      config.scale_attn_weights ? std::sqrt(static_cast<double>(config.d_head)) : 1.0;
  const double inverse_layer = config.scale_attn_by_inverse_layer_idx ? layer + 1.0 : 1.0;
  if (config.reorder_and_upcast_attn) return {.query_factor = 1.0 / (root * inverse_layer)};
  return {.divisor = root, .layer_divisor = inverse_layer};
}

Attention::Attention(const Gpt2Config& config, int32_t layer, const Packing& keys,
                     const Packing& queries, const at::Tensor& qkv,
                     absl::FunctionRef<at::Tensor(int32_t row, int which)> clean_keys)
    : queries_(queries) {
  const int64_t d = config.d_model, stride = qkv.stride(0);
  const ScoreScale scale = ScoreScaleOf(config, layer);
  shape_ = {.heads = config.n_head,
            .d_head = config.d_head,
            .z_stride = d,
            .query_factor = static_cast<float>(scale.query_factor),
            .divisor = static_cast<float>(scale.divisor),
            .layer_divisor = static_cast<float>(scale.layer_divisor)};
  z_ = at::empty({queries.tokens(), d}, qkv.options());
  const float* packed = qkv.const_data_ptr<float>();
  rows_.reserve(queries.entries().size());
  for (const Packing::Entry& query : queries.entries()) {
    const Packing::Entry& key = *keys.Find(query.row);
    const auto at = [&](int64_t offset, int64_t part) {
      return kernels::Rows{packed + offset * stride + part * d, stride};
    };
    kernels::AttentionRow row{.length = query.length,
                              .queries_first = query.first,
                              .keys_first = key.first,
                              .q = at(key.offset + query.first - key.first, 0),
                              .k = at(key.offset, 1),
                              .v = at(key.offset, 2),
                              .clean_k = {},
                              .clean_v = {},
                              .z = z_.data_ptr<float>() + query.offset * d};
    if (key.first > 0) {
      for (const int which : {kKeys, kValues}) {
        clean_.push_back(clean_keys(query.row, which));
        kernels::Rows& rows = which == kKeys ? row.clean_k : row.clean_v;
        rows = {clean_.back().const_data_ptr<float>(), clean_.back().stride(0)};
      }
    }
    rows_.push_back(row);
  }
}

at::Tensor Attention::Run() {
  kernels::Attend(shape_, rows_);
  return z_;
}

at::Tensor Attention::RunVisited(const AttentionVisits& visits) {
  // A patch may read from one row and write to another. So a site is finished for all rows before
  // the next step begins for any.
  std::vector<kernels::AttentionRow> seen, unseen;
  std::vector<at::Tensor> scores, pattern;  // by row; undefined for those that are not visited
  const auto of = [](const std::vector<at::Tensor>& all, int32_t row) {
    return static_cast<size_t>(row) < all.size() ? all[row] : at::Tensor();
  };
  for (size_t i = 0; i < rows_.size(); ++i) {
    const Packing::Entry& entry = queries_.entries()[i];
    if (!visits.wants(entry.row)) {
      unseen.push_back(rows_[i]);
      continue;
    }
    if (scores.size() <= static_cast<size_t>(entry.row)) {
      scores.resize(entry.row + 1);
      pattern.resize(entry.row + 1);
    }
    const std::vector<int64_t> shape = {shape_.heads, entry.tokens(), entry.length};
    scores[entry.row] = at::empty(shape, z_.options());
    pattern[entry.row] = at::empty(shape, z_.options());
    seen.push_back(rows_[i]);
    seen.back().scores = scores[entry.row].data_ptr<float>();
    seen.back().pattern = pattern[entry.row].data_ptr<float>();
    seen.back().knocked_out = visits.edits_scores(entry.row);
  }
  kernels::Attend(shape_, unseen);
  kernels::AttentionScores(shape_, seen);
  visits.scores([&](int32_t row) { return of(scores, row); });
  kernels::AttentionPattern(shape_, seen);
  scores.clear();
  visits.pattern([&](int32_t row) { return of(pattern, row); });
  kernels::AttentionMix(shape_, seen);
  return z_;
}

}  // namespace scalpel::model
