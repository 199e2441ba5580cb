#include "server/model/pass.h"

#include <algorithm>
#include <utility>

namespace scalpel::model {
namespace {

// Whether the clean run knows what a row needs to enter there.
bool Knows(const Row& row, const Entrance& entrance) {
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

}  // namespace

Pass::Pass(absl::Span<const Row> rows)
    : rows_(rows),
      next_stop_(rows.size()),
      tokens_computed_(rows.size()),
      attention_positions_(rows.size()),
      mlp_positions_(rows.size()),
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

bool Pass::Enter(const Entrance& entrance) {
  std::vector<Packing::Entry> entries = packing_.entries();
  for (int32_t i = 0; i < size(); ++i) {
    const Row& row = rows_[i];
    if (next_stop_[i] == row.stops.size() || packing_.Find(i) != nullptr ||
        EntranceOf(row.stops[next_stop_[i]]) != entrance)
      continue;
    entries.push_back({i, row.first, static_cast<int64_t>(row.tokens.size())});
    tokens_computed_[i] = entries.back().tokens();
  }
  const bool any = entries.size() > packing_.entries().size();
  if (any) packing_ = Packing(std::move(entries));
  return any;
}

bool Pass::Leave(const Entrance& now, const Stop& until, const Tap& tap) {
  for (int32_t i = 0; i < size(); ++i) {
    const std::vector<Stop>& stops = rows_[i].stops;
    size_t& next = next_stop_[i];
    while (next < stops.size() && stops[next] < until) ++next;
    if (!tap.Needs(i)) next = stops.size();
  }
  std::vector<Packing::Entry> stay;
  for (const Packing::Entry& entry : packing_.entries()) {
    const Row& row = rows_[entry.row];
    if (row.last < until || !tap.Needs(entry.row)) continue;
    const size_t next = next_stop_[entry.row];
    const bool done = next == row.stops.size();
    const Entrance again = EntranceOf(done ? row.last : row.stops[next]);
    if ((done || again > now) && Knows(row, again) && !tap.Changed(entry.row)) continue;
    stay.push_back(entry);
  }
  const bool any = stay.size() < packing_.entries().size();
  if (any) packing_ = Packing(std::move(stay));
  return any;
}

bool Pass::Narrow() {
  std::vector<Packing::Entry> entries = packing_.entries();
  bool any = false;
  for (Packing::Entry& entry : entries) {
    any = any || rows_[entry.row].read_first > entry.first;
    entry.first = std::max(entry.first, rows_[entry.row].read_first);
  }
  if (any) packing_ = Packing(std::move(entries));
  return any;
}

void Pass::Count(std::vector<int64_t>& positions) const {
  for (const Packing::Entry& entry : packing_.entries()) positions[entry.row] += entry.tokens();
}

at::Tensor Pass::Relay(const Packing& before, const at::Tensor& packed,
                       absl::FunctionRef<at::Tensor(const CleanState&)> clean) const {
  return Repack(before, packed, packing_, [&](int32_t row) { return clean(*rows_[row].clean); });
}

at::Tensor Pass::Relay(const Packing& before, const at::Tensor& packed) const {
  return Relay(before, packed, [](const CleanState&) { return at::Tensor(); });
}

RowValue Pass::CleanOf(int32_t row, Site site, int32_t layer) const {
  if (rows_[row].clean == nullptr) return {};
  return {
      CleanValue(*rows_[row].clean, site, layer, static_cast<int64_t>(rows_[row].tokens.size()))};
}

RowValue Pass::ValueOf(int32_t row, const at::Tensor& value, Site site, int32_t layer) const {
  const Packing::Entry* entry = packing_.Find(row);
  if (entry == nullptr) return CleanOf(row, site, layer);
  return {Packing::Slice(value, *entry), entry->first};
}

void Pass::Append(const Packing::Entry& entry, const at::Tensor& packed, States list) {
  std::vector<at::Tensor>& states = (*recorded_[entry.row]).*list;
  const int32_t layer = static_cast<int32_t>(states.size());
  const at::Tensor slice = Packing::Slice(packed, entry);
  // Alone in its tensor, and before the row's first edit, it is nobody's to write to.
  const bool alone = packing_.entries().size() == 1 && packed.is_contiguous() &&
                     layer < rows_[entry.row].record_layers;
  if (entry.first > 0) {
    const at::Tensor before = ((*rows_[entry.row].clean).*list)[layer];
    states.push_back(at::cat({before.narrow(0, 0, entry.first), slice}));
  } else {
    states.push_back(alone ? packed : slice.clone(at::MemoryFormat::Contiguous));
  }
}

void Pass::RecordResid(int32_t layer, const at::Tensor& resid) {
  for (const Packing::Entry& entry : packing_.entries()) {
    const int32_t layers = rows_[entry.row].record_layers;
    if (layers == 0 || layers < layer) continue;
    if (static_cast<int32_t>(recorded_[entry.row]->resid.size()) == layer)
      Append(entry, resid, &CleanState::resid);
  }
}

void Pass::RecordKeys(int32_t layer, const at::Tensor& keys, const at::Tensor& values) {
  for (const Packing::Entry& entry : packing_.entries()) {
    if (rows_[entry.row].record_layers <= layer || recorded_[entry.row]->depth() > layer) continue;
    Append(entry, keys, &CleanState::k);
    Append(entry, values, &CleanState::v);
  }
}

void Pass::RecordZ(int32_t layer, const at::Tensor& z) {
  for (const Packing::Entry& entry : packing_.entries()) {
    if (rows_[entry.row].record_layers <= layer) continue;
    if (static_cast<int32_t>(recorded_[entry.row]->z.size()) == layer)
      Append(entry, z, &CleanState::z);
  }
}

}  // namespace scalpel::model
