#include "server/model/forward_pass.h"

#include <algorithm>
#include <utility>

#include "server/kernels/finite.h"

namespace scalpel::model {
namespace {

// Whether the clean run knows what a row needs to enter there.
bool Knows(const Row& row, const EntryPoint& entrance) {
  if (row.clean == nullptr || row.clean->length() < static_cast<int64_t>(row.tokens.size()))
    return false;
  switch (entrance.door) {
    case Door::kBlock:
      return entrance.layer >= 0 && entrance.layer <= row.clean->depth();
    case Door::kOutput:
      return entrance.layer < row.clean->depth();
    case Door::kEnd:
      return entrance.layer + 1 <= row.clean->depth();
  }
  return false;
}

bool Finite(const at::Tensor& x) {
  if (x.is_cpu() && x.is_contiguous())
    return kernels::AllFinite(x.const_data_ptr<float>(), x.numel());
  return x.is_meta() || at::isfinite(x).all().item<bool>();  // meta tensors have no values
}

}  // namespace

ForwardPass::ForwardPass(absl::Span<const Row> rows, Tap& tap)
    : rows_(rows),
      tap_(tap),
      next_stop_(rows.size()),
      answers_(rows.size()),
      recorded_(rows.size()) {
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (row.record_layers == 0) continue;
    recorded_[i] = std::make_shared<CleanState>();
    const bool all = row.clean != nullptr && row.clean->tokens.size() == row.tokens.size();
    if (all) *recorded_[i] = *row.clean;  // some layers; the others follow
    recorded_[i]->tokens.assign(row.tokens.begin(), row.tokens.end());
  }
}

// ---- the doors ----------------------------------------------------------------------------------

void ForwardPass::EnterEmbeddings() { Enter({kNoLayer, Door::kBlock}); }

void ForwardPass::EnterBlock(int32_t layer, at::Tensor& x) {
  layer_ = layer;
  const Packing before = packing_;
  if (Enter({layer, Door::kBlock})) {
    x = Repacked(before, x, [layer](const CleanState& clean) { return clean.resid[layer]; });
  }
  RecordResid(layer, x);
}

void ForwardPass::LeaveBlockInput(at::Tensor& x) {
  const Packing before = packing_;
  if (Leave({layer_, Door::kBlock}, {layer_, Site::kLn1In})) x = Repacked(before, x);
  for (const Packing::Entry& entry : packing_.entries())
    answers_[entry.row].attention_positions += entry.tokens();
}

void ForwardPass::Narrow(at::Tensor& x) {
  const Packing before = packing_;
  if (DropUnread()) x = Repacked(before, x);
}

void ForwardPass::EnterOutput(at::Tensor& x, at::Tensor& z) {
  RecordZ(z);
  const Packing before = packing_;
  if (Enter({layer_, Door::kOutput})) {
    x = Repacked(before, x, [this](const CleanState& clean) { return clean.resid[layer_]; });
    z = Repacked(before, z, [this](const CleanState& clean) { return clean.z[layer_]; });
  }
  for (const Packing::Entry& entry : packing_.entries())
    answers_[entry.row].mlp_positions += entry.tokens();
}

void ForwardPass::EnterBlockEnd(at::Tensor& x) {
  const Packing before = packing_;
  if (Enter({layer_, Door::kEnd})) {
    x = Repacked(before, x, [this](const CleanState& clean) { return clean.resid[layer_ + 1]; });
  }
  RecordResid(layer_ + 1, x);
}

bool ForwardPass::LayerDone(at::Tensor& x) {
  NoteFinite(x);
  if (!tap_.LayerDone(layer_)) return false;
  if (layer_ == kNoLayer) return true;
  const Packing before = packing_;
  if (Leave({layer_, Door::kEnd}, {layer_ + 1, Site::kEmbed})) x = Repacked(before, x);
  return true;
}

bool ForwardPass::Enter(const EntryPoint& entrance) {
  std::vector<Packing::Entry> entries = packing_.entries();
  for (int32_t i = 0; i < size(); ++i) {
    const Row& row = rows_[i];
    if (next_stop_[i] == row.stops.size() || packing_.Find(i) != nullptr ||
        EntryPointOf(row.stops[next_stop_[i]]) != entrance)
      continue;
    entries.push_back({i, row.first, static_cast<int64_t>(row.tokens.size())});
    answers_[i].tokens_computed = entries.back().tokens();
  }
  const bool any = entries.size() > packing_.entries().size();
  if (any) packing_ = Packing(std::move(entries));
  return any;
}

bool ForwardPass::Leave(const EntryPoint& now, const Stop& until) {
  for (int32_t i = 0; i < size(); ++i) {
    const std::vector<Stop>& stops = rows_[i].stops;
    size_t& next = next_stop_[i];
    while (next < stops.size() && stops[next] < until) ++next;
    if (!tap_.Needs(i)) next = stops.size();
  }
  // A row leaves for good when nothing needs it any more. It leaves for a while when all of its
  // edits so far have changed nothing, bit for bit, so that the clean run stands in exactly, and
  // when that run is known as far as the door where the row enters again (or, after its last stop,
  // is looked at). Leaving at a door where it would enter again at once would be work for nothing.
  std::vector<Packing::Entry> stay;
  for (const Packing::Entry& entry : packing_.entries()) {
    const Row& row = rows_[entry.row];
    if (row.last < until || !tap_.Needs(entry.row)) continue;
    const size_t next = next_stop_[entry.row];
    const bool done = next == row.stops.size();
    const EntryPoint again = EntryPointOf(done ? row.last : row.stops[next]);
    if ((done || again > now) && Knows(row, again) && !tap_.Changed(entry.row)) continue;
    stay.push_back(entry);
  }
  const bool any = stay.size() < packing_.entries().size();
  if (any) packing_ = Packing(std::move(stay));
  return any;
}

// Behind the last block's keys and values nothing mixes positions, so that those which are not read
// need neither queries nor an MLP.
bool ForwardPass::DropUnread() {
  std::vector<Packing::Entry> entries = packing_.entries();
  bool any = false;
  for (Packing::Entry& entry : entries) {
    any = any || rows_[entry.row].read_first > entry.first;
    entry.first = std::max(entry.first, rows_[entry.row].read_first);
  }
  if (any) packing_ = Packing(std::move(entries));
  return any;
}

at::Tensor ForwardPass::Repacked(const Packing& before, const at::Tensor& packed,
                                 CleanPart clean) const {
  return Repack(before, packed, packing_, [&](int32_t row) { return clean(*rows_[row].clean); });
}

at::Tensor ForwardPass::Repacked(const Packing& before, const at::Tensor& packed) const {
  return Repacked(before, packed, [](const CleanState&) { return at::Tensor(); });
}

// ---- the sites ----------------------------------------------------------------------------------

RowValue ForwardPass::ValueOf(Site site, int32_t row, const at::Tensor& packed) const {
  if (const Packing::Entry* entry = packing_.Find(row))
    return {Packing::Slice(packed, *entry), entry->first};
  if (rows_[row].clean == nullptr) return {};
  const int64_t length = static_cast<int64_t>(rows_[row].tokens.size());
  return {CleanValue(*rows_[row].clean, site, layer_, length)};
}

bool ForwardPass::Edits(Site site) const {
  if (!Wants(site)) return false;
  const auto& entries = packing_.entries();
  return std::any_of(entries.begin(), entries.end(),
                     [&](const Packing::Entry& entry) { return Edits(site, entry.row); });
}

void ForwardPass::Visit(Site site, const at::Tensor& packed) {
  if (!Wants(site)) return;
  tap_.Visit({&site, 1}, layer_, [&](Site, int32_t row) { return ValueOf(site, row, packed); });
}

void ForwardPass::VisitRows(Site site, absl::FunctionRef<at::Tensor(int32_t row)> of) {
  if (!Wants(site)) return;
  tap_.Visit({&site, 1}, layer_, [&](Site, int32_t row) -> RowValue {
    const Packing::Entry* entry = packing_.Find(row);
    return entry == nullptr ? RowValue() : RowValue{of(row), entry->first};
  });
}

void ForwardPass::VisitQkv(const at::Tensor& qkv, int64_t n_head) {
  constexpr Site kSites[] = {Site::kQkv, Site::kQ, Site::kK, Site::kV};
  if (std::none_of(std::begin(kSites), std::end(kSites), [&](Site site) { return Wants(site); }))
    return;
  const int64_t d_model = qkv.size(1) / 3;
  tap_.Visit(kSites, layer_, [&](Site site, int32_t row) {
    RowValue value = ValueOf(site, row, qkv);
    if (site == Site::kQkv || packing_.Find(row) == nullptr) return value;
    const int64_t part = site == Site::kQ ? 0 : site == Site::kK ? 1 : 2;
    value.value =
        value.value.narrow(1, part * d_model, d_model).unflatten(1, {n_head, d_model / n_head});
    return value;
  });
}

// ---- what comes back ----------------------------------------------------------------------------

void ForwardPass::NoteFinite(const at::Tensor& packed) {
  if (Finite(packed)) return;
  for (const Packing::Entry& entry : packing_.entries()) {
    bool& finite = answers_[entry.row].finite;
    finite = finite && Finite(Packing::Slice(packed, entry));
  }
}

void ForwardPass::NoteFiniteLogits() {
  for (RowAnswer& answer : answers_) {
    if (answer.logits.defined()) answer.finite = answer.finite && Finite(answer.logits);
  }
}

std::vector<RowAnswer> ForwardPass::TakeAnswers() {
  for (size_t row = 0; row < answers_.size(); ++row) answers_[row].recorded = recorded_[row];
  return std::move(answers_);
}

void ForwardPass::Append(const Packing::Entry& entry, const at::Tensor& packed, States list) {
  std::vector<at::Tensor>& states = (*recorded_[entry.row]).*list;
  const int32_t layer = static_cast<int32_t>(states.size());
  const at::Tensor slice = Packing::Slice(packed, entry);
  // Alone in its tensor, and before the row's first edit, nothing writes to it.
  const bool alone = packing_.entries().size() == 1 && packed.is_contiguous() &&
                     layer < rows_[entry.row].record_layers;
  if (entry.first > 0) {
    const at::Tensor before = ((*rows_[entry.row].clean).*list)[layer];
    states.push_back(at::cat({before.narrow(0, 0, entry.first), slice}));
  } else {
    states.push_back(alone ? packed : slice.clone(at::MemoryFormat::Contiguous));
  }
}

void ForwardPass::RecordResid(int32_t layer, const at::Tensor& x) {
  for (const Packing::Entry& entry : packing_.entries()) {
    const int32_t layers = rows_[entry.row].record_layers;
    if (layers == 0 || layers < layer) continue;
    if (static_cast<int32_t>(recorded_[entry.row]->resid.size()) == layer)
      Append(entry, x, &CleanState::resid);
  }
}

void ForwardPass::RecordKeys(const at::Tensor& keys, const at::Tensor& values) {
  for (const Packing::Entry& entry : packing_.entries()) {
    if (KeyCache* kept = rows_[entry.row].keys.get()) {
      kept->Put(layer_, entry.first, Packing::Slice(keys, entry), Packing::Slice(values, entry));
    }
    if (rows_[entry.row].record_layers <= layer_ || recorded_[entry.row]->depth() > layer_)
      continue;
    Append(entry, keys, &CleanState::k);
    Append(entry, values, &CleanState::v);
  }
}

void ForwardPass::RecordZ(const at::Tensor& z) {
  for (const Packing::Entry& entry : packing_.entries()) {
    if (rows_[entry.row].record_layers <= layer_) continue;
    if (static_cast<int32_t>(recorded_[entry.row]->z.size()) == layer_)
      Append(entry, z, &CleanState::z);
  }
}

}  // namespace scalpel::model
