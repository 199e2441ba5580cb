// x is the residual stream of the N positions that are being computed now, of all rows: [N, d].
// Shapes by the letters of site.h: H heads of width dh, F neurons, V tokens of the vocabulary.

#include "server/model/gpt2.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "server/model/attention.h"
#include "server/model/device_attention.h"
#include "server/model/forward_pass.h"

namespace scalpel::model {
namespace {

// ---- the parts of a block, each with the sites in it --------------------------------------------
//
// Where the tap looks, a part is computed step by step; elsewhere by one kernel, which gives the
// same bits.

struct NormSites {
  Site in, scale, out;
};
constexpr NormSites kLn1 = {Site::kLn1In, Site::kLn1Scale, Site::kLn1Out},
                    kLn2 = {Site::kLn2In, Site::kLn2Scale, Site::kLn2Out},
                    kLnF = {Site::kLnFIn, Site::kLnFScale, Site::kLnFOut};

// LayerNorm(x). An edit of its input changes only what it sees, not x.
at::Tensor Norm(ForwardPass& pass, const NormSites& sites, const LayerNormWeights& weights,
                double epsilon, const at::Tensor& x) {
  const at::Tensor in = pass.Edits(sites.in) ? x.clone() : x;
  pass.Visit(sites.in, in);
  const Normed normed = LayerNorm(in, weights, epsilon, /*with_scale=*/pass.Wants(sites.scale));
  pass.Visit(sites.scale, normed.scale);
  pass.Visit(sites.out, normed.out);
  return normed.out;
}

// x + linear(in); linear(in) is the site.
at::Tensor Add(ForwardPass& pass, Site site, const at::Tensor& x, const Linear& linear,
               const at::Tensor& in) {
  if (!pass.Wants(site)) return linear.AddedTo(x, in, pass.goes_on());
  const at::Tensor out = linear(in, pass.goes_on());
  pass.Visit(site, out);
  return x + out;
}

// activation(linear(in)); linear(in) is the site.
at::Tensor Activated(ForwardPass& pass, Site site, Activation activation, const Linear& linear,
                     const at::Tensor& in) {
  if (!pass.Wants(site)) return linear.Activated(activation, in, pass.goes_on());
  const at::Tensor out = linear(in, pass.goes_on());
  pass.Visit(site, out);
  return Activate(activation, out);
}

// What each head writes, [H, d] at each position: its part of the output projection.
void VisitHeadResults(ForwardPass& pass, const at::Tensor& z, const Linear& attn_out) {
  if (!pass.Wants(Site::kHeadResult)) return;
  std::vector<at::Tensor> results(pass.size());  // by row
  for (const Packing::Entry& entry : pass.packing().entries()) {
    if (!pass.Wants(Site::kHeadResult, entry.row)) continue;
    const at::Tensor z_row = Packing::Slice(z, entry);  // [T, H, dh]
    std::vector<at::Tensor> heads;
    for (int64_t head = 0; head < z.size(1); ++head)
      heads.push_back(attn_out.Part(z_row.select(1, head), head * z.size(2)));
    results[entry.row] = at::stack(heads, 1);
  }
  pass.VisitRows(Site::kHeadResult, [&](int32_t row) { return results[row]; });
}

// ---- loading ------------------------------------------------------------------------------------

LayerNormWeights MoveTo(at::Device device, const LayerNormWeights& weights) {
  return {weights.gain.to(device), weights.bias.to(device)};
}

Linear MakeLinear(at::Device device, const LinearWeights& weights) {
  return Linear(
      {weights.weight.to(device), weights.bias.defined() ? weights.bias.to(device) : at::Tensor()});
}

}  // namespace

Gpt2::Gpt2(const Gpt2Config& config, Weights weights, at::Device device)
    : config_(config),
      device_(device),
      wte_(weights.wte.to(device)),
      wpe_(weights.wpe.to(device)),
      ln_f_(MoveTo(device, weights.ln_f)) {
  blocks_.reserve(weights.blocks.size());
  for (BlockWeights& block : weights.blocks) {
    blocks_.push_back({MoveTo(device, block.ln1), MakeLinear(device, block.qkv),
                       MakeLinear(device, block.attn_out), MoveTo(device, block.ln2),
                       MakeLinear(device, block.mlp_in), MakeLinear(device, block.mlp_out)});
    block = BlockWeights();  // frees the unpacked weights as early as possible
  }
  head_ = MakeLinear(device, {weights.lm_head.t(), at::Tensor()});
}

// ---- the model ----------------------------------------------------------------------------------

std::optional<std::vector<RowAnswer>> Gpt2::Forward(absl::Span<const Row> rows, Tap& tap) const {
  ForwardPass pass(rows, tap);
  at::Tensor x = Embed(pass);
  if (!pass.LayerDone(x)) return std::nullopt;
  for (int32_t layer = 0; layer < config_.n_layer; ++layer) {
    RunBlock(layer, pass, x);
    if (!pass.LayerDone(x)) return std::nullopt;
  }
  pass.LeaveBlocks();
  x = Norm(pass, kLnF, ln_f_, config_.layer_norm_epsilon, x);
  pass.NoteFinite(x);
  Logits(pass, x);
  pass.NoteFiniteLogits();
  return pass.TakeAnswers();
}

at::Tensor Gpt2::Embed(ForwardPass& pass) const {
  pass.EnterEmbeddings();
  const int64_t tokens = pass.packing().tokens();
  at::Tensor ids = at::empty({tokens}, at::kLong), positions = at::empty({tokens}, at::kLong);
  for (const Packing::Entry& entry : pass.packing().entries()) {
    const auto row = pass.row(entry.row).tokens.subspan(entry.first);
    std::copy(row.begin(), row.end(), ids.data_ptr<int64_t>() + entry.offset);
    std::iota(positions.data_ptr<int64_t>() + entry.offset,
              positions.data_ptr<int64_t>() + entry.offset + entry.tokens(), entry.first);
  }
  const at::Tensor embed = at::embedding(wte_, ids.to(device_));
  pass.Visit(Site::kEmbed, embed);
  const at::Tensor pos_embed = at::embedding(wpe_, positions.to(device_));
  pass.Visit(Site::kPosEmbed, pos_embed);
  return embed + pos_embed;
}

void Gpt2::RunBlock(int32_t layer, ForwardPass& pass, at::Tensor& x) const {
  const Block& block = blocks_[layer];
  const double epsilon = config_.layer_norm_epsilon;

  pass.EnterBlock(layer, x);
  pass.Visit(Site::kResidPre, x);
  pass.LeaveBlockInput(x);

  const at::Tensor ln1 = Norm(pass, kLn1, block.ln1, epsilon, x);
  const at::Tensor qkv = block.qkv(ln1, pass.goes_on());  // [N, 3d]
  pass.VisitQkv(qkv, config_.n_head);
  at::Tensor z = Attend(pass, qkv, x);  // [N, d]
  pass.EnterOutput(x, z);
  const at::Tensor z_by_head = z.view({-1, config_.n_head, config_.d_head});
  pass.Visit(Site::kZ, z_by_head);
  VisitHeadResults(pass, z_by_head, block.attn_out);
  x = Add(pass, Site::kAttnOut, x, block.attn_out, z);
  pass.Visit(Site::kResidMid, x);

  const at::Tensor ln2 = Norm(pass, kLn2, block.ln2, epsilon, x);
  const at::Tensor neurons =
      Activated(pass, Site::kMlpPre, config_.activation, block.mlp_in, ln2);  // [N, F]
  pass.Visit(Site::kMlpPost, neurons);
  x = Add(pass, Site::kMlpOut, x, block.mlp_out, neurons);
  pass.EnterBlockEnd(x);
  pass.Visit(Site::kResidPost, x);
}

// The heads' outputs. In the last layer, queries are left out that nothing reads.
at::Tensor Gpt2::Attend(ForwardPass& pass, const at::Tensor& qkv, at::Tensor& x) const {
  const int32_t layer = pass.layer();
  const at::Tensor by_part = qkv.view({-1, 3, config_.n_head, config_.d_head});
  pass.RecordKeys(by_part.select(1, 1), by_part.select(1, 2));
  const Packing keys = pass.packing();
  if (layer + 1 == config_.n_layer) pass.Narrow(x);
  const auto clean_keys = [&](int32_t row, int which) {
    const CleanState& clean = *pass.row(row).clean;
    return which == 0 ? clean.k[layer] : clean.v[layer];
  };
  const auto run = [&](auto attention) {
    if (!pass.Wants(Site::kAttnScores) && !pass.Wants(Site::kPattern)) return attention.Run();
    return attention.RunVisited(
        {[&](PatternOf scores) { pass.VisitRows(Site::kAttnScores, scores); },
         [&](PatternOf pattern) { pass.VisitRows(Site::kPattern, pattern); },
         [&](int32_t row) {
           return pass.Wants(Site::kAttnScores, row) || pass.Wants(Site::kPattern, row);
         },
         [&](int32_t row) { return pass.Edits(Site::kAttnScores, row); }});
  };
  if (qkv.is_cpu()) return run(Attention(config_, layer, keys, pass.packing(), qkv, clean_keys));
  return run(DeviceAttention(config_, layer, keys, pass.packing(), qkv, clean_keys));
}

// `x`: behind the final LayerNorm. All positions of rows that the tap looks at, and of the others
// those alone whose logits are asked for, in one multiplication.
void Gpt2::Logits(ForwardPass& pass, const at::Tensor& x) const {
  const auto index_of = [this](const std::vector<int64_t>& positions) {
    return at::tensor(positions, at::kLong).to(device_);
  };
  std::vector<at::Tensor> seen(pass.size());  // by row, [T, V]
  for (const Packing::Entry& entry : pass.packing().entries()) {
    if (pass.Wants(Site::kLogits) && pass.Wants(Site::kLogits, entry.row))
      seen[entry.row] = (*head_)(Packing::Slice(x, entry), pass.goes_on());
  }
  pass.VisitRows(Site::kLogits, [&](int32_t row) { return seen[row]; });

  std::vector<int64_t> asked;  // in x
  std::vector<int32_t> asking;
  for (const Packing::Entry& entry : pass.packing().entries()) {
    std::vector<int64_t> positions = pass.row(entry.row).logit_positions;
    if (positions.empty()) continue;
    for (int64_t& position : positions) position -= entry.first;
    if (seen[entry.row].defined()) {
      pass.answer(entry.row).logits = seen[entry.row].index_select(0, index_of(positions));
      continue;
    }
    asking.push_back(entry.row);
    for (const int64_t position : positions) asked.push_back(entry.offset + position);
  }
  if (asked.empty()) return;
  const at::Tensor logits = (*head_)(x.index_select(0, index_of(asked)), pass.goes_on());
  int64_t begin = 0;
  for (const int32_t row : asking) {
    const int64_t count = static_cast<int64_t>(pass.row(row).logit_positions.size());
    pass.answer(row).logits = logits.narrow(0, begin, count);
    begin += count;
  }
}

}  // namespace scalpel::model
