// A cache of clean runs, found by their prompt or by a prompt that begins with the same tokens.

#ifndef SCALPEL_SERVER_ENGINE_BASELINE_CACHE_H_
#define SCALPEL_SERVER_ENGINE_BASELINE_CACHE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "server/model/clean_state.h"

namespace scalpel::engine {

// Least recently used goes first. Invisible in answers: what it gives is, bit for bit, what the
// clean run computes. Not thread-safe: the engine's thread has it.
class BaselineCache {
 public:
  struct Counts {
    int64_t hits = 0;         // the whole prompt was known, at least in part of its layers
    int64_t prefix_hits = 0;  // its beginning was
    int64_t misses = 0;
    int64_t bytes = 0, entries = 0;
  };

  // `bytes_max` 0: it holds nothing. `n_layer`: of the model.
  BaselineCache(int64_t bytes_max, int32_t n_layer) : bytes_max_(bytes_max), n_layer_(n_layer) {}

  bool enabled() const { return bytes_max_ > 0; }
  // A state that holds all of these tokens at its beginning; else one, with every layer, that holds
  // as many of the first as any, at its beginning and nothing else; else null.
  std::shared_ptr<const model::CleanState> Find(absl::Span<const int32_t> tokens);
  // Keeps the state, unless one of the same tokens is there and goes as deep.
  void Add(std::shared_ptr<const model::CleanState> state);
  const Counts& counts() const { return counts_; }

 private:
  using Entries = std::list<std::shared_ptr<const model::CleanState>>;

  // Hashes of the first 1, 2, ... tokens.
  static std::vector<uint64_t> PrefixHashes(absl::Span<const int32_t> tokens);
  // Entry that begins with the first `count` of the tokens; end(): none.
  Entries::iterator Lookup(uint64_t hash, absl::Span<const int32_t> tokens);
  void Remove(Entries::iterator entry);

  const int64_t bytes_max_;
  const int32_t n_layer_;
  Entries entries_;                                             // the least recently used last
  absl::flat_hash_map<uint64_t, Entries::iterator> by_prefix_;  // every prefix of every entry
  Counts counts_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_BASELINE_CACHE_H_
