#include "server/engine/baseline_cache.h"

#include <algorithm>
#include <utility>

namespace scalpel::engine {
namespace {

using model::CleanState;

// The first `count` tokens of a state, as a state.
std::shared_ptr<const CleanState> Beginning(const CleanState& state, int64_t count) {
  auto part = std::make_shared<CleanState>();
  part->tokens.assign(state.tokens.begin(), state.tokens.begin() + count);
  for (const at::Tensor& resid : state.resid) part->resid.push_back(resid.narrow(0, 0, count));
  for (const at::Tensor& z : state.z) part->z.push_back(z.narrow(0, 0, count));
  for (const at::Tensor& k : state.k) part->k.push_back(k.narrow(0, 0, count));
  for (const at::Tensor& v : state.v) part->v.push_back(v.narrow(0, 0, count));
  return part;
}

}  // namespace

std::vector<uint64_t> BaselineCache::PrefixHashes(absl::Span<const int32_t> tokens) {
  std::vector<uint64_t> hashes;
  hashes.reserve(tokens.size());
  uint64_t hash = 0;
  for (const int32_t token : tokens) {  // splitmix64's finaliser over the running sum
    hash += static_cast<uint64_t>(token) + 0x9e3779b97f4a7c15;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
    hash ^= hash >> 31;
    hashes.push_back(hash);
  }
  return hashes;
}

BaselineCache::Entries::iterator BaselineCache::Lookup(uint64_t hash,
                                                       absl::Span<const int32_t> tokens) {
  const auto found = by_prefix_.find(hash);
  if (found == by_prefix_.end()) return entries_.end();
  const std::vector<int32_t>& held = (*found->second)->tokens;
  const bool equal =
      held.size() >= tokens.size() && std::equal(tokens.begin(), tokens.end(), held.begin());
  return equal ? found->second : entries_.end();
}

std::shared_ptr<const CleanState> BaselineCache::Find(absl::Span<const int32_t> tokens) {
  if (!enabled()) return nullptr;
  const std::vector<uint64_t> hashes = PrefixHashes(tokens);
  for (size_t count = tokens.size(); count > 0; --count) {
    const auto entry = Lookup(hashes[count - 1], tokens.first(count));
    if (entry == entries_.end()) continue;
    const bool whole = count == tokens.size();
    if (!whole && (*entry)->depth() < n_layer_) continue;
    ++(whole ? counts_.hits : counts_.prefix_hits);
    entries_.splice(entries_.begin(), entries_, entry);
    return (*entry)->tokens.size() == count ? *entry : Beginning(**entry, count);
  }
  ++counts_.misses;
  return nullptr;
}

void BaselineCache::Add(std::shared_ptr<const CleanState> state) {
  const int64_t bytes = state->bytes();
  if (bytes > bytes_max_) return;
  const std::vector<uint64_t> hashes = PrefixHashes(state->tokens);
  const auto same = Lookup(hashes.back(), state->tokens);
  if (same != entries_.end()) {
    if ((*same)->depth() >= state->depth()) return;
    if ((*same)->tokens.size() == state->tokens.size()) Remove(same);
  }
  while (counts_.bytes + bytes > bytes_max_) Remove(std::prev(entries_.end()));
  entries_.push_front(std::move(state));
  for (const uint64_t hash : hashes) by_prefix_[hash] = entries_.begin();
  counts_.bytes += bytes;
  ++counts_.entries;
}

void BaselineCache::Remove(Entries::iterator entry) {
  for (const uint64_t hash : PrefixHashes((*entry)->tokens)) {
    const auto found = by_prefix_.find(hash);
    if (found != by_prefix_.end() && found->second == entry) by_prefix_.erase(found);
  }
  counts_.bytes -= (*entry)->bytes();
  --counts_.entries;
  entries_.erase(entry);
}

}  // namespace scalpel::engine
