#include "server/model/packing.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace scalpel::model {

Packing::Packing(std::vector<Entry> entries) : entries_(std::move(entries)) {
  const auto order = [](const Entry& e) {
    return std::tuple(e.blocks(), e.first_block(), e.first, e.length, e.row);
  };
  std::sort(entries_.begin(), entries_.end(),
            [&](const Entry& a, const Entry& b) { return order(a) < order(b); });
  for (size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    entry.offset = tokens_;
    tokens_ += entry.tokens();
    if (static_cast<size_t>(entry.row) >= index_.size()) index_.resize(entry.row + 1, -1);
    index_[entry.row] = static_cast<int32_t>(i);
  }
}

const Packing::Entry* Packing::Find(int32_t row) const {
  if (static_cast<size_t>(row) >= index_.size() || index_[row] < 0) return nullptr;
  return &entries_[index_[row]];
}

size_t Packing::EqualFrom(size_t begin) const {
  size_t end = begin + 1;
  while (end < entries_.size() && entries_[end].first == entries_[begin].first &&
         entries_[end].length == entries_[begin].length) {
    ++end;
  }
  return end - begin;
}

at::Tensor Repack(const Packing& from, const at::Tensor& packed, const Packing& to,
                  absl::FunctionRef<at::Tensor(int32_t row)> clean) {
  std::vector<at::Tensor> parts;
  for (const Packing::Entry& entry : to.entries()) {
    const Packing::Entry* old = from.Find(entry.row);
    parts.push_back(old == nullptr
                        ? clean(entry.row).narrow(0, entry.first, entry.tokens())
                        : packed.narrow(0, old->offset + entry.first - old->first, entry.tokens()));
  }
  if (parts.empty()) return packed.narrow(0, 0, 0);
  return at::cat(parts);
}

}  // namespace scalpel::model
