// A cache of clean runs, found by their prompt or by a prompt that begins with the same tokens.

#ifndef SCALPEL_SERVER_ENGINE_BASELINE_CACHE_H_
#define SCALPEL_SERVER_ENGINE_BASELINE_CACHE_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/model/clean_state.h"

namespace scalpel::engine {

// Each clean run belongs to a scope, and is found only by lookups in that scope. Invisible in
// answers: what it gives is, bit for bit, what the clean run computes.
//
// All scopes share one limit of bytes. Room is made where the most is held: the scope with the most
// bytes, the new ones counted, gives up its least recently used run. So a scope that holds less
// than the limit divided by the number of scopes never loses a run to another, and a single scope
// may have it all.
//
// Not thread-safe: the engine's thread has it.
class BaselineCache {
 public:
  struct Counts {             // over all scopes
    int64_t hits = 0;         // the whole prompt was known, at least in part of its layers
    int64_t prefix_hits = 0;  // its beginning was
    int64_t misses = 0;
    int64_t bytes = 0, entries = 0;
  };

  // `bytes_max` 0: it holds nothing. `n_layer`: of the model.
  BaselineCache(int64_t bytes_max, int32_t n_layer) : bytes_max_(bytes_max), n_layer_(n_layer) {}

  bool enabled() const { return bytes_max_ > 0; }
  // The scope's deepest state that begins with all of these tokens, cut after them; else, of its
  // states that have every layer, the one that has the longest beginning in common with them, cut
  // after it; else null. Of several the one that was added last.
  std::shared_ptr<const model::CleanState> Find(absl::string_view scope,
                                                absl::Span<const int32_t> tokens);
  // Keeps the state, unless the scope has one that begins with its tokens and goes as deep, or the
  // state alone is more than the scope's share. It replaces a shallower one of the same tokens.
  void Add(absl::string_view scope, std::shared_ptr<const model::CleanState> state);
  const Counts& counts() const { return counts_; }

 private:
  using Entries = std::list<std::shared_ptr<const model::CleanState>>;

  // Never without entries, except while Add fills it.
  struct Scope {
    Entries entries;  // the least recently used last
    // Of every prefix of every entry: the entries that begin with it, in the order in which they
    // were added. All of them, so that none is hidden by one that is shallower or goes sooner.
    absl::flat_hash_map<uint64_t, std::vector<Entries::iterator>> by_prefix;
    int64_t bytes = 0;
  };

  // Hashes of the first 1, 2, ... tokens.
  static std::vector<uint64_t> PrefixHashes(absl::Span<const int32_t> tokens);
  // The deepest entry that begins with the tokens, whose hash is given, and has at least
  // `depth_min` layers; end(): none.
  static Entries::iterator Lookup(Scope& scope, uint64_t hash, absl::Span<const int32_t> tokens,
                                  int32_t depth_min);
  // Removes the entry that has just these tokens, if there is one.
  void RemoveSame(Scope& scope, uint64_t hash, absl::Span<const int32_t> tokens);
  // Whether MakeRoom can make room for as much, if need be with all that `scope` has.
  bool Fits(absl::string_view scope, int64_t bytes) const;
  // Removes entries until there is room for as many bytes, which `scope` is about to hold.
  void MakeRoom(absl::string_view scope, int64_t bytes);
  void Remove(Scope& scope, Entries::iterator entry);

  const int64_t bytes_max_;
  const int32_t n_layer_;
  std::map<std::string, Scope, std::less<>> scopes_;
  Counts counts_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_BASELINE_CACHE_H_
