#include "server/model/gpt2.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "server/kernels/finite.h"
#include "server/model/attention.h"
#include "server/model/device_attention.h"
#include "server/model/pass.h"

namespace scalpel::model {
namespace {

// Lets the tap see a packed tensor [tokens, ...], row by row.
void VisitPacked(Tap& tap, Site site, int32_t layer, const Pass& pass, const at::Tensor& packed) {
  if (!tap.Wants(site, layer)) return;
  tap.Visit({&site, 1}, layer,
            [&](Site, int32_t row) { return pass.ValueOf(row, packed, site, layer); });
}

// Lets the tap see QKV and its three views at once, since they share one storage.
void VisitQkv(Tap& tap, int32_t layer, const Pass& pass, const at::Tensor& qkv, int64_t n_head) {
  constexpr Site kSites[] = {Site::kQkv, Site::kQ, Site::kK, Site::kV};
  bool wanted = false;
  for (Site site : kSites) wanted = wanted || tap.Wants(site, layer);
  if (!wanted) return;
  const int64_t d_model = qkv.size(1) / 3;
  tap.Visit(kSites, layer, [&](Site site, int32_t row) {
    RowValue value = pass.ValueOf(row, qkv, site, layer);
    if (site == Site::kQkv || pass.packing().Find(row) == nullptr) return value;
    const int64_t column = (static_cast<int64_t>(site) - static_cast<int64_t>(Site::kQ)) * d_model;
    value.value = value.value.narrow(1, column, d_model).unflatten(1, {n_head, d_model / n_head});
    return value;
  });
}

// Lets the tap see attention scores or weights.
void VisitPattern(Tap& tap, Site site, int32_t layer, const Pass& pass, PatternOf pattern_of) {
  if (!tap.Wants(site, layer)) return;
  tap.Visit({&site, 1}, layer, [&](Site, int32_t row) -> RowValue {
    const Packing::Entry* entry = pass.packing().Find(row);
    return entry == nullptr ? RowValue() : RowValue{pattern_of(row), entry->first};
  });
}

// Lets the tap see what each head writes, [T, H, d].
void VisitHeadResults(Tap& tap, int32_t layer, const Pass& pass, const at::Tensor& z_heads,
                      const Linear& attn_out) {
  Site site = Site::kHeadResult;
  if (!tap.Wants(site, layer)) return;
  std::vector<at::Tensor> results(pass.size());
  for (const Packing::Entry& entry : pass.packing().entries()) {
    if (!tap.Wants(site, layer, entry.row)) continue;
    const at::Tensor z = Packing::Slice(z_heads, entry);
    std::vector<at::Tensor> heads;
    for (int64_t head = 0; head < z.size(1); ++head)
      heads.push_back(attn_out.Part(z.select(1, head), head * z.size(2)));
    results[entry.row] = at::stack(heads, 1);
  }
  tap.Visit({&site, 1}, layer, [&](Site, int32_t row) -> RowValue {
    const Packing::Entry* entry = pass.packing().Find(row);
    return entry == nullptr ? RowValue() : RowValue{results[row], entry->first};
  });
}

// The sum of `resid` and what a linear layer makes of `x`, which the tap may see by itself.
at::Tensor AddVisited(Tap& tap, Site site, int32_t layer, const Pass& pass, const Linear& linear,
                      const at::Tensor& x, const at::Tensor& resid) {
  if (!tap.Wants(site, layer)) return linear.AddedTo(resid, x);
  const at::Tensor out = linear(x);
  VisitPacked(tap, site, layer, pass, out);
  return resid + out;
}

// What a LayerNorm is given: the residual stream itself, or a copy where an edit is to change only
// what the LayerNorm sees.
at::Tensor NormInput(Tap& tap, Site site, int32_t layer, const Pass& pass,
                     const at::Tensor& resid) {
  if (!tap.Wants(site, layer)) return resid;
  const auto& entries = pass.packing().entries();
  const bool edited = std::any_of(entries.begin(), entries.end(), [&](const Packing::Entry& entry) {
    return tap.Edits(site, layer, entry.row);
  });
  const at::Tensor input = edited ? resid.clone() : resid;
  VisitPacked(tap, site, layer, pass, input);
  return input;
}

bool Finite(const at::Tensor& x) {
  if (x.is_cpu() && x.is_contiguous())
    return kernels::AllFinite(x.const_data_ptr<float>(), x.numel());
  return x.is_meta() || at::isfinite(x).all().item<bool>();  // meta tensors have no values
}

// Notes the rows whose part of a packed tensor holds an infinity or NaN.
void NoteFinite(const Pass& pass, const at::Tensor& packed, std::vector<RowAnswer>& answers) {
  if (Finite(packed)) return;
  for (const Packing::Entry& entry : pass.packing().entries()) {
    bool& finite = answers[entry.row].finite;
    finite = finite && Finite(Packing::Slice(packed, entry));
  }
}

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

std::optional<std::vector<RowAnswer>> Gpt2::Forward(absl::Span<const Row> rows, Tap& tap) const {
  Pass pass(rows);
  std::vector<RowAnswer> answers(rows.size());
  at::Tensor resid = Embed(pass, tap);  // [N, d], of the rows that are being computed
  NoteFinite(pass, resid, answers);
  if (!tap.LayerDone(kNoLayer)) return std::nullopt;
  for (int32_t layer = 0; layer < config_.n_layer; ++layer) {
    RunBlock(layer, pass, resid, tap);
    NoteFinite(pass, resid, answers);
    if (!tap.LayerDone(layer)) return std::nullopt;
    const Packing before = pass.packing();
    if (pass.Leave({layer, Door::kEnd}, {layer + 1, Site::kEmbed}, tap))
      resid = pass.Relay(before, resid);
  }
  const at::Tensor ln_f_in = NormInput(tap, Site::kLnFIn, kNoLayer, pass, resid);
  const at::Tensor hidden = Norm(ln_f_in, ln_f_, Site::kLnFScale, kNoLayer, pass, tap);
  VisitPacked(tap, Site::kLnFOut, kNoLayer, pass, hidden);
  NoteFinite(pass, hidden, answers);
  Logits(pass, hidden, tap, answers);
  for (int32_t row = 0; row < pass.size(); ++row) {
    if (answers[row].logits.defined())
      answers[row].finite = answers[row].finite && Finite(answers[row].logits);
    answers[row].recorded = pass.Recorded(row);
    answers[row].tokens_computed = pass.tokens_computed(row);
    answers[row].attention_positions = pass.attention_positions(row);
    answers[row].mlp_positions = pass.mlp_positions(row);
  }
  return answers;
}

at::Tensor Gpt2::Embed(Pass& pass, Tap& tap) const {
  pass.Enter({kNoLayer, Door::kBlock});
  const int64_t tokens = pass.packing().tokens();
  at::Tensor ids = at::empty({tokens}, at::kLong), positions = at::empty({tokens}, at::kLong);
  for (const Packing::Entry& entry : pass.packing().entries()) {
    const auto row = pass.row(entry.row).tokens.subspan(entry.first);
    std::copy(row.begin(), row.end(), ids.data_ptr<int64_t>() + entry.offset);
    std::iota(positions.data_ptr<int64_t>() + entry.offset,
              positions.data_ptr<int64_t>() + entry.offset + entry.tokens(), entry.first);
  }
  const at::Tensor embed = at::embedding(wte_, ids.to(device_));  // [N, d]
  VisitPacked(tap, Site::kEmbed, kNoLayer, pass, embed);
  const at::Tensor pos_embed = at::embedding(wpe_, positions.to(device_));  // [N, d]
  VisitPacked(tap, Site::kPosEmbed, kNoLayer, pass, pos_embed);
  return embed + pos_embed;
}

void Gpt2::RunBlock(int32_t layer, Pass& pass, at::Tensor& resid, Tap& tap) const {
  const Block& block = blocks_[layer];
  const auto input = [layer](const CleanState& clean) { return clean.resid[layer]; };
  Packing before = pass.packing();
  if (pass.Enter({layer, Door::kBlock})) resid = pass.Relay(before, resid, input);
  pass.RecordResid(layer, resid);
  VisitPacked(tap, Site::kResidPre, layer, pass, resid);
  before = pass.packing();
  if (pass.Leave({layer, Door::kBlock}, {layer, Site::kLn1In}, tap))
    resid = pass.Relay(before, resid);

  pass.CountAttention();
  const at::Tensor ln1_in = NormInput(tap, Site::kLn1In, layer, pass, resid);
  const at::Tensor ln1 = Norm(ln1_in, block.ln1, Site::kLn1Scale, layer, pass, tap);
  VisitPacked(tap, Site::kLn1Out, layer, pass, ln1);
  const at::Tensor qkv = block.qkv(ln1);  // [N, 3d]
  VisitQkv(tap, layer, pass, qkv, config_.n_head);
  at::Tensor z = Attend(layer, pass, qkv, resid, tap);  // [N, d], by head [N, H, dh]
  pass.RecordZ(layer, z);

  before = pass.packing();
  if (pass.Enter({layer, Door::kOutput})) {
    resid = pass.Relay(before, resid, input);
    z = pass.Relay(before, z, [layer](const CleanState& clean) { return clean.z[layer]; });
  }
  const at::Tensor z_heads = z.view({-1, config_.n_head, config_.d_head});
  VisitPacked(tap, Site::kZ, layer, pass, z_heads);
  VisitHeadResults(tap, layer, pass, z_heads, block.attn_out);
  resid = AddVisited(tap, Site::kAttnOut, layer, pass, block.attn_out, z, resid);
  VisitPacked(tap, Site::kResidMid, layer, pass, resid);
  pass.CountMlp();
  RunMlp(layer, pass, resid, tap);

  before = pass.packing();
  if (pass.Enter({layer, Door::kEnd}))
    resid = pass.Relay(before, resid,
                       [layer](const CleanState& clean) { return clean.resid[layer + 1]; });
  pass.RecordResid(layer + 1, resid);
  VisitPacked(tap, Site::kResidPost, layer, pass, resid);
}

void Gpt2::RunMlp(int32_t layer, const Pass& pass, at::Tensor& resid, Tap& tap) const {
  const Block& block = blocks_[layer];
  const at::Tensor ln2_in = NormInput(tap, Site::kLn2In, layer, pass, resid);
  const at::Tensor ln2 = Norm(ln2_in, block.ln2, Site::kLn2Scale, layer, pass, tap);
  VisitPacked(tap, Site::kLn2Out, layer, pass, ln2);
  const at::Tensor mlp_post = Neurons(layer, pass, ln2, tap);  // [N, F]
  VisitPacked(tap, Site::kMlpPost, layer, pass, mlp_post);
  resid = AddVisited(tap, Site::kMlpOut, layer, pass, block.mlp_out, mlp_post, resid);
}

// The MLP's neurons after their activation.
at::Tensor Gpt2::Neurons(int32_t layer, const Pass& pass, const at::Tensor& ln2, Tap& tap) const {
  const Linear& mlp_in = blocks_[layer].mlp_in;
  if (!tap.Wants(Site::kMlpPre, layer)) return mlp_in.Activated(config_.activation, ln2);
  const at::Tensor pre = mlp_in(ln2);  // [N, F]
  VisitPacked(tap, Site::kMlpPre, layer, pass, pre);
  return Activate(config_.activation, pre);
}

// The heads' outputs. In the last layer, queries are left out that nothing reads.
at::Tensor Gpt2::Attend(int32_t layer, Pass& pass, const at::Tensor& qkv, at::Tensor& resid,
                        Tap& tap) const {
  const at::Tensor by_part = qkv.view({-1, 3, config_.n_head, config_.d_head});
  pass.RecordKeys(layer, by_part.select(1, 1), by_part.select(1, 2));
  const Packing keys = pass.packing();
  if (layer + 1 == config_.n_layer && pass.Narrow()) resid = pass.Relay(keys, resid);
  const auto clean_keys = [&](int32_t row, int which) {
    const CleanState& clean = *pass.row(row).clean;
    return which == 0 ? clean.k[layer] : clean.v[layer];
  };
  const auto run = [&](auto attention) {
    if (!tap.Wants(Site::kAttnScores, layer) && !tap.Wants(Site::kPattern, layer))
      return attention.Run();
    return attention.RunVisited(
        {[&](PatternOf of) { VisitPattern(tap, Site::kAttnScores, layer, pass, of); },
         [&](PatternOf of) { VisitPattern(tap, Site::kPattern, layer, pass, of); },
         [&](int32_t row) {
           return tap.Wants(Site::kAttnScores, layer, row) || tap.Wants(Site::kPattern, layer, row);
         },
         [&](int32_t row) { return tap.Edits(Site::kAttnScores, layer, row); }});
  };
  if (qkv.is_cpu()) return run(Attention(config_, layer, keys, pass.packing(), qkv, clean_keys));
  return run(DeviceAttention(config_, layer, keys, pass.packing(), qkv, clean_keys));
}

at::Tensor Gpt2::Norm(const at::Tensor& x, const LayerNormWeights& weights, Site scale_site,
                      int32_t layer, const Pass& pass, Tap& tap) const {
  const Normed normed =
      LayerNorm(x, weights, config_.layer_norm_epsilon, tap.Wants(scale_site, layer));
  if (normed.scale.defined()) VisitPacked(tap, scale_site, layer, pass, normed.scale);
  return normed.out;
}

void Gpt2::Logits(const Pass& pass, const at::Tensor& hidden, Tap& tap,
                  std::vector<RowAnswer>& answers) const {
  std::vector<at::Tensor> whole(pass.size());  // by row, [positions, V], where somebody looks
  if (tap.Wants(Site::kLogits, kNoLayer)) {
    for (const Packing::Entry& entry : pass.packing().entries()) {
      if (tap.Wants(Site::kLogits, kNoLayer, entry.row))
        whole[entry.row] = (*head_)(Packing::Slice(hidden, entry));
    }
    const Site site = Site::kLogits;
    tap.Visit({&site, 1}, kNoLayer, [&](Site, int32_t row) -> RowValue {
      const Packing::Entry* entry = pass.packing().Find(row);
      return entry == nullptr ? RowValue() : RowValue{whole[row], entry->first};
    });
  }
  std::vector<int64_t> packed;
  std::vector<const Packing::Entry*> asking;
  for (const Packing::Entry& entry : pass.packing().entries()) {
    const std::vector<int64_t>& positions = pass.row(entry.row).logit_positions;
    if (positions.empty()) continue;
    if (whole[entry.row].defined()) {
      std::vector<int64_t> index;
      for (const int64_t position : positions) index.push_back(position - entry.first);
      answers[entry.row].logits =
          whole[entry.row].index_select(0, at::tensor(index, at::kLong).to(device_));
      continue;
    }
    asking.push_back(&entry);
    for (const int64_t position : positions)
      packed.push_back(entry.offset + position - entry.first);
  }
  if (packed.empty()) return;
  const at::Tensor index = at::tensor(packed, at::kLong).to(device_);
  const at::Tensor asked = (*head_)(hidden.index_select(0, index));
  int64_t begin = 0;
  for (const Packing::Entry* entry : asking) {
    const int64_t count = static_cast<int64_t>(pass.row(entry->row).logit_positions.size());
    answers[entry->row].logits = asked.narrow(0, begin, count);
    begin += count;
  }
}

}  // namespace scalpel::model
