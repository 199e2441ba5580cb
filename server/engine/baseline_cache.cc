#include "server/engine/baseline_cache.h"

#include <algorithm>
#include <iterator>
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

BaselineCache::Entries::iterator BaselineCache::Lookup(Scope& scope, uint64_t hash,
                                                       absl::Span<const int32_t> tokens,
                                                       int32_t depth_min) {
  auto best = scope.entries.end();
  const auto found = scope.by_prefix.find(hash);
  if (found == scope.by_prefix.end()) return best;
  int32_t depth = depth_min;  // tokens are compared for an entry that goes this deep
  for (auto entry = found->second.rbegin(); entry != found->second.rend(); ++entry) {
    const CleanState& state = ***entry;
    if (state.depth() < depth || state.length() < static_cast<int64_t>(tokens.size())) continue;
    if (!std::equal(tokens.begin(), tokens.end(), state.tokens.begin())) continue;
    best = *entry;
    depth = state.depth() + 1;
  }
  return best;
}

std::shared_ptr<const CleanState> BaselineCache::Find(absl::string_view scope_name,
                                                      absl::Span<const int32_t> tokens) {
  if (!enabled()) return nullptr;
  const auto found = scopes_.find(scope_name);
  if (found == scopes_.end()) {
    ++counts_.misses;
    return nullptr;
  }
  Scope& scope = found->second;
  const std::vector<uint64_t> hashes = PrefixHashes(tokens);
  for (size_t count = tokens.size(); count > 0; --count) {
    const bool whole = count == tokens.size();
    const auto entry = Lookup(scope, hashes[count - 1], tokens.first(count), whole ? 0 : n_layer_);
    if (entry == scope.entries.end()) continue;
    ++(whole ? counts_.hits : counts_.prefix_hits);
    scope.entries.splice(scope.entries.begin(), scope.entries, entry);
    return (*entry)->tokens.size() == count ? *entry : Beginning(**entry, count);
  }
  ++counts_.misses;
  return nullptr;
}

void BaselineCache::Add(absl::string_view scope_name, std::shared_ptr<const CleanState> state) {
  const int64_t bytes = state->bytes();
  if (!Fits(scope_name, bytes)) return;
  const std::vector<uint64_t> hashes = PrefixHashes(state->tokens);
  Scope& scope = scopes_[std::string(scope_name)];
  if (Lookup(scope, hashes.back(), state->tokens, state->depth()) != scope.entries.end()) return;
  RemoveSame(scope, hashes.back(), state->tokens);
  MakeRoom(scope_name, bytes);
  scope.entries.push_front(std::move(state));
  for (const uint64_t hash : hashes) scope.by_prefix[hash].push_back(scope.entries.begin());
  scope.bytes += bytes;
  counts_.bytes += bytes;
  ++counts_.entries;
}

bool BaselineCache::Fits(absl::string_view scope_name, int64_t bytes) const {
  int64_t beside = 0;
  for (const auto& [name, scope] : scopes_) {
    if (name != scope_name) beside += std::min(scope.bytes, bytes);
  }
  return beside + bytes <= bytes_max_;
}

void BaselineCache::MakeRoom(absl::string_view scope_name, int64_t bytes) {
  while (counts_.bytes + bytes > bytes_max_) {
    auto largest = scopes_.end();
    int64_t most = 0;
    for (auto scope = scopes_.begin(); scope != scopes_.end(); ++scope) {
      if (scope->second.entries.empty()) continue;
      const int64_t held = scope->second.bytes + (scope->first == scope_name ? bytes : 0);
      if (held > most) largest = scope, most = held;
    }
    Scope& scope = largest->second;
    Remove(scope, std::prev(scope.entries.end()));
    if (scope.entries.empty() && largest->first != scope_name) scopes_.erase(largest);
  }
}

void BaselineCache::RemoveSame(Scope& scope, uint64_t hash, absl::Span<const int32_t> tokens) {
  const auto found = scope.by_prefix.find(hash);
  if (found == scope.by_prefix.end()) return;
  for (const Entries::iterator entry : found->second) {
    if ((*entry)->tokens == tokens) return Remove(scope, entry);  // there is at most one
  }
}

void BaselineCache::Remove(Scope& scope, Entries::iterator entry) {
  for (const uint64_t hash : PrefixHashes((*entry)->tokens)) {
    const auto found = scope.by_prefix.find(hash);
    if (found == scope.by_prefix.end()) continue;  // two of its prefixes have the same hash
    std::erase(found->second, entry);
    if (found->second.empty()) scope.by_prefix.erase(found);
  }
  const int64_t bytes = (*entry)->bytes();
  scope.bytes -= bytes;
  counts_.bytes -= bytes;
  --counts_.entries;
  scope.entries.erase(entry);
}

}  // namespace scalpel::engine
