#include "server/model/gpt2.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

namespace scalpel::model {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Lets the tap see a packed tensor [tokens, ...], row by row.
void VisitPacked(Tap& tap, Site site, int32_t layer, const Packing& packing,
                 const at::Tensor& packed) {
  if (!tap.Wants(site, layer)) return;
  SiteValue value{site, {}};
  for (int32_t row = 0; row < packing.rows(); ++row)
    value.rows.push_back(packing.Slice(packed, row));
  tap.Visit({&value, 1}, layer);
}

// Lets the tap see QKV and its three views at once, since they share one storage.
void VisitQkv(Tap& tap, int32_t layer, const Packing& packing, const at::Tensor& qkv,
              int64_t n_head) {
  constexpr Site kViews[] = {Site::kQ, Site::kK, Site::kV};
  bool wanted = tap.Wants(Site::kQkv, layer);
  for (Site site : kViews) wanted = wanted || tap.Wants(site, layer);
  if (!wanted) return;
  std::vector<SiteValue> values{{Site::kQkv, {}}, {Site::kQ, {}}, {Site::kK, {}}, {Site::kV, {}}};
  const int64_t d_model = qkv.size(1) / 3;
  for (int32_t row = 0; row < packing.rows(); ++row) {
    const at::Tensor slice = packing.Slice(qkv, row);
    values[0].rows.push_back(slice);
    for (int i = 0; i < 3; ++i) {
      values[i + 1].rows.push_back(
          slice.narrow(1, i * d_model, d_model).unflatten(1, {n_head, d_model / n_head}));
    }
  }
  tap.Visit(values, layer);
}

// Lets the tap see attention scores or weights; `groups` are [rows of the group, H, T, T].
void VisitGroups(Tap& tap, Site site, int32_t layer, const Packing& packing,
                 absl::Span<const at::Tensor> groups) {
  if (!tap.Wants(site, layer)) return;
  SiteValue value{site, std::vector<at::Tensor>(packing.rows())};
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto& rows = packing.groups()[g].rows;
    for (size_t i = 0; i < rows.size(); ++i) value.rows[rows[i]] = groups[g].select(0, i);
  }
  tap.Visit({&value, 1}, layer);
}

LayerNormWeights MoveTo(at::Device device, const LayerNormWeights& weights) {
  return {weights.gain.to(device), weights.bias.to(device)};
}

Linear MakeLinear(at::Device device, LinearKernel kernel, const LinearWeights& weights) {
  return Linear(
      {weights.weight.to(device), weights.bias.defined() ? weights.bias.to(device) : at::Tensor()},
      kernel);
}

// What each head writes, [N, H, d]. Row by row: the product's roundings depend on how many
// positions it has.
at::Tensor HeadResults(const Packing& packing, const at::Tensor& z_heads,
                       const at::Tensor& weights) {
  at::Tensor results =
      at::empty({z_heads.size(0), z_heads.size(1), weights.size(2)}, z_heads.options());
  for (int32_t row = 0; row < packing.rows(); ++row) {
    const at::Tensor z = packing.Slice(z_heads, row).transpose(0, 1).contiguous();  // [H, T, dh]
    packing.Slice(results, row).copy_(at::bmm(z, weights).transpose(0, 1));
  }
  return results;
}

}  // namespace

Packing::Packing(absl::Span<const int64_t> lengths, int64_t group_scores_max)
    : lengths_(lengths.begin(), lengths.end()), offsets_(lengths.size()) {
  std::vector<int32_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return lengths_[a] < lengths_[b]; });
  for (int32_t row : order) {
    const int64_t length = lengths_[row];
    offsets_[row] = tokens_;
    const bool fits =
        !groups_.empty() && groups_.back().length == length &&
        static_cast<int64_t>(groups_.back().rows.size() + 1) * length * length <= group_scores_max;
    if (!fits) groups_.push_back({{}, tokens_, length});
    groups_.back().rows.push_back(row);
    tokens_ += length;
  }
}

Gpt2::Gpt2(const Gpt2Config& config, Weights weights, at::Device device)
    : config_(config),
      device_(device),
      kernel_(ChooseLinearKernel(device)),
      wte_(weights.wte.to(device)),
      wpe_(weights.wpe.to(device)),
      ln_f_(MoveTo(device, weights.ln_f)) {
  blocks_.reserve(weights.blocks.size());
  for (BlockWeights& block : weights.blocks) {
    blocks_.push_back(
        {MoveTo(device, block.ln1), MakeLinear(device, kernel_, block.qkv),
         MakeLinear(device, kernel_, block.attn_out),
         block.attn_out.weight.to(device).view({config.n_head, config.d_head, config.d_model}),
         MoveTo(device, block.ln2), MakeLinear(device, kernel_, block.mlp_in),
         MakeLinear(device, kernel_, block.mlp_out)});
    block = BlockWeights();  // frees the unpacked weights as early as possible
  }
  head_ = MakeLinear(device, kernel_, {weights.lm_head.t(), at::Tensor()});
}

std::optional<std::vector<at::Tensor>> Gpt2::Forward(
    const Packing& packing, const at::Tensor& ids,
    absl::Span<const std::vector<int64_t>> logit_positions, Tap& tap) const {
  at::Tensor resid = Embed(packing, ids, tap);  // [N, d]
  if (!tap.LayerDone(kNoLayer)) return std::nullopt;
  for (int32_t layer = 0; layer < config_.n_layer; ++layer) {
    RunBlock(layer, packing, resid, tap);
    if (!tap.LayerDone(layer)) return std::nullopt;
  }
  const at::Tensor hidden = LayerNorm(resid, ln_f_, Site::kLnFScale, kNoLayer, packing, tap);
  VisitPacked(tap, Site::kLnFOut, kNoLayer, packing, hidden);
  return Logits(packing, hidden, logit_positions, tap);
}

at::Tensor Gpt2::Embed(const Packing& packing, const at::Tensor& ids, Tap& tap) const {
  const at::Tensor embed = at::embedding(wte_, ids);  // [N, d]
  VisitPacked(tap, Site::kEmbed, kNoLayer, packing, embed);
  at::Tensor pos_embed = at::empty_like(embed);
  for (const auto& group : packing.groups()) {
    const int64_t rows = static_cast<int64_t>(group.rows.size());
    pos_embed.narrow(0, group.offset, rows * group.length)
        .view({rows, group.length, config_.d_model})
        .copy_(wpe_.narrow(0, 0, group.length));
  }
  VisitPacked(tap, Site::kPosEmbed, kNoLayer, packing, pos_embed);
  return embed + pos_embed;
}

void Gpt2::RunBlock(int32_t layer, const Packing& packing, at::Tensor& resid, Tap& tap) const {
  const Block& block = blocks_[layer];
  VisitPacked(tap, Site::kResidPre, layer, packing, resid);

  const at::Tensor ln1 = LayerNorm(resid, block.ln1, Site::kLn1Scale, layer, packing, tap);
  VisitPacked(tap, Site::kLn1Out, layer, packing, ln1);
  const at::Tensor qkv = block.qkv(ln1);  // [N, 3d]
  VisitQkv(tap, layer, packing, qkv, config_.n_head);
  const at::Tensor z = Attention(layer, packing, qkv, tap);  // [N, d], by head [N, H, dh]
  const at::Tensor z_heads = z.view({packing.tokens(), config_.n_head, config_.d_head});
  VisitPacked(tap, Site::kZ, layer, packing, z_heads);
  if (tap.Wants(Site::kHeadResult, layer)) {
    VisitPacked(tap, Site::kHeadResult, layer, packing,
                HeadResults(packing, z_heads, block.attn_out_heads));
  }
  const at::Tensor attn_out = block.attn_out(z);  // [N, d]
  VisitPacked(tap, Site::kAttnOut, layer, packing, attn_out);
  resid = resid + attn_out;
  VisitPacked(tap, Site::kResidMid, layer, packing, resid);

  const at::Tensor ln2 = LayerNorm(resid, block.ln2, Site::kLn2Scale, layer, packing, tap);
  VisitPacked(tap, Site::kLn2Out, layer, packing, ln2);
  const at::Tensor mlp_pre = block.mlp_in(ln2);  // [N, F]
  VisitPacked(tap, Site::kMlpPre, layer, packing, mlp_pre);
  const at::Tensor mlp_post = Activate(config_.activation, mlp_pre);  // [N, F]
  VisitPacked(tap, Site::kMlpPost, layer, packing, mlp_post);
  const at::Tensor mlp_out = block.mlp_out(mlp_post);  // [N, d]
  VisitPacked(tap, Site::kMlpOut, layer, packing, mlp_out);
  resid = resid + mlp_out;
  VisitPacked(tap, Site::kResidPost, layer, packing, resid);
}

// Always by the same kernels, whether anybody looks or not: that is what makes observing free of
// side effects, bit for bit. And always on contiguous heads: MKL's roundings depend on strides, and
// matmul would copy the heads of several rows but not of one. With that (and 16-byte heads, d_head
// % 4 == 0) the bits of a row do not depend on the rows around it.
at::Tensor Gpt2::Attention(int32_t layer, const Packing& packing, const at::Tensor& qkv,
                           Tap& tap) const {
  const auto& groups = packing.groups();
  at::Tensor z = at::empty({packing.tokens(), config_.d_model}, qkv.options());
  const auto mix = [&](const Packing::Group& group, const at::Tensor& pattern) {
    const int64_t rows = static_cast<int64_t>(group.rows.size());
    const at::Tensor v = qkv.narrow(0, group.offset, rows * group.length)
                             .narrow(1, 2 * config_.d_model, config_.d_model)
                             .view({rows, group.length, config_.n_head, config_.d_head})
                             .transpose(1, 2)
                             .contiguous();  // [rows, H, T, dh]
    z.narrow(0, group.offset, rows * group.length)
        .view({rows, group.length, config_.n_head, config_.d_head})
        .copy_(at::matmul(pattern, v).transpose(1, 2));
  };
  if (!tap.Wants(Site::kAttnScores, layer) && !tap.Wants(Site::kPattern, layer)) {
    for (const auto& group : groups) mix(group, at::softmax(Scores(layer, group, qkv), -1));
    return z;
  }
  // A patch may read one group and write another, so all groups pass a site before any goes on.
  std::vector<at::Tensor> scores, patterns;  // by group, [rows, H, T, T]
  for (const auto& group : groups) scores.push_back(Scores(layer, group, qkv));
  VisitGroups(tap, Site::kAttnScores, layer, packing, scores);
  for (const at::Tensor& s : scores) {
    patterns.push_back(at::softmax(s, -1));
    if (tap.Edits(Site::kAttnScores,
                  layer)) {  // a query whose every key was knocked out attends to nothing
      patterns.back().masked_fill_((s == kMinusInfinity).all(-1, /*keepdim=*/true), 0);
    }
  }
  scores.clear();
  VisitGroups(tap, Site::kPattern, layer, packing, patterns);
  for (size_t g = 0; g < groups.size(); ++g) mix(groups[g], patterns[g]);
  return z;
}

// Scaled, causal scores of a group, [rows, H, T, T].
at::Tensor Gpt2::Scores(int32_t layer, const Packing::Group& group, const at::Tensor& qkv) const {
  const int64_t rows = static_cast<int64_t>(group.rows.size());
  const at::Tensor heads = qkv.narrow(0, group.offset, rows * group.length)
                               .narrow(1, 0, 2 * config_.d_model)
                               .view({rows, group.length, 2, config_.n_head, config_.d_head})
                               .permute({2, 0, 3, 1, 4})
                               .contiguous();  // Q and K, [2, rows, H, T, dh]
  const at::Tensor q = heads.select(0, 0);
  const at::Tensor k = heads.select(0, 1).transpose(-2, -1);
  const double root =
      config_.scale_attn_weights ? std::sqrt(static_cast<double>(config_.d_head)) : 1.0;
  const double inverse_layer = config_.scale_attn_by_inverse_layer_idx ? layer + 1.0 : 1.0;
  at::Tensor scores;
  if (config_.reorder_and_upcast_attn) {
    scores = at::matmul(q * (1.0 / (root * inverse_layer)), k);
  } else {
    scores = at::matmul(q, k).div_(root);
    if (config_.scale_attn_by_inverse_layer_idx) scores.div_(inverse_layer);
  }
  const at::Tensor future =
      at::ones({group.length, group.length}, scores.options().dtype(at::kBool)).triu_(1);
  return scores.masked_fill_(future, kMinusInfinity);
}

at::Tensor Gpt2::LayerNorm(const at::Tensor& x, const LayerNormWeights& weights, Site scale_site,
                           int32_t layer, const Packing& packing, Tap& tap) const {
  auto [out, mean, reciprocal] = at::native_layer_norm(x, {config_.d_model}, weights.gain,
                                                       weights.bias, config_.layer_norm_epsilon);
  if (tap.Wants(scale_site, layer))
    VisitPacked(tap, scale_site, layer, packing, reciprocal.reciprocal().view({-1, 1}));
  return out;
}

std::vector<at::Tensor> Gpt2::Logits(const Packing& packing, const at::Tensor& hidden,
                                     absl::Span<const std::vector<int64_t>> positions,
                                     Tap& tap) const {
  at::Tensor all;  // [N, V], only where somebody wants to see them all
  if (tap.Wants(Site::kLogits, kNoLayer)) {
    all = (*head_)(hidden);
    VisitPacked(tap, Site::kLogits, kNoLayer, packing, all);
  }
  std::vector<int64_t> packed;
  for (int32_t row = 0; row < packing.rows(); ++row) {
    for (int64_t position : positions[row]) packed.push_back(packing.offset(row) + position);
  }
  std::vector<at::Tensor> by_row(packing.rows());
  if (packed.empty()) return by_row;
  // Without edits the asked positions are computed by themselves, so that looking at all logits
  // does not change which kernel makes the answer.
  const at::Tensor index = at::tensor(packed, at::kLong).to(device_);
  const at::Tensor asked = tap.Edits(Site::kLogits, kNoLayer)
                               ? all.index_select(0, index)
                               : (*head_)(hidden.index_select(0, index));
  int64_t begin = 0;
  for (int32_t row = 0; row < packing.rows(); ++row) {
    const int64_t count = static_cast<int64_t>(positions[row].size());
    if (count > 0) by_row[row] = asked.narrow(0, begin, count);
    begin += count;
  }
  return by_row;
}

}  // namespace scalpel::model
