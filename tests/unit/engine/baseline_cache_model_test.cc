// The cache of clean runs against a plain list, which is searched from one end to the other.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/engine/baseline_cache.h"
#include "tests/unit/support/model_steps.h"

namespace scalpel::engine {
namespace {

using model::CleanState;
using test::Wrong;

constexpr int32_t kLayers = 3;
constexpr int64_t kMaxBytes = 4000;

using Tokens = std::vector<int32_t>;

// Finds the tokens (depth < 0), or adds a state of them.
struct Step {
  Tokens tokens;
  int32_t depth = -1;
};

// Few tokens, so that prompts meet: most begin alike, and some are as long as the cache.
Step MakeStep(test::Random& random) {
  Step step;
  const uint64_t most = test::Chance(random, 0.02) ? 40 : 6;
  for (uint64_t length = 1 + test::Below(random, most); length > 0; --length)
    step.tokens.push_back(static_cast<int32_t>(test::Below(random, 2)));
  if (test::Chance(random, 0.5))
    step.depth = static_cast<int32_t>(test::Below(random, kLayers + 1));
  return step;
}

std::string TextOf(const Step& step) {
  const std::string tokens = absl::StrCat("[", absl::StrJoin(step.tokens, " "), "]");
  return step.depth < 0 ? absl::StrCat("find ", tokens)
                        : absl::StrCat("add ", tokens, " with ", step.depth, " layers");
}

// Of width 1: every tensor has 4 bytes a token. The first number of each tells the states apart.
std::shared_ptr<const CleanState> MakeState(const Step& step, int64_t id) {
  auto state = std::make_shared<CleanState>();
  state->tokens = step.tokens;
  const auto tensor = [&] {
    return at::full({static_cast<int64_t>(step.tokens.size()), 1, 1}, id, at::kFloat);
  };
  state->resid.push_back(tensor());
  for (int32_t layer = 0; layer < step.depth; ++layer) {
    for (auto* list : {&state->resid, &state->k, &state->v, &state->z}) list->push_back(tensor());
  }
  return state;
}

class PlainList {
 public:
  struct Found {
    int64_t id = 0, length = 0;  // 0: none
  };

  Found Find(const Tokens& tokens) {
    const auto best = std::max_element(entries_.begin(), entries_.end(), [&](auto& a, auto& b) {
      return RankOf(a, tokens) < RankOf(b, tokens);
    });
    if (best == entries_.end() || Use(*best, tokens) == 0) {
      ++misses_;
      return {};
    }
    const Found found{best->id, Use(*best, tokens)};
    ++(found.length == Length(tokens) ? hits_ : prefix_hits_);
    entries_.splice(entries_.begin(), entries_, best);
    return found;
  }

  void Add(const Step& step, int64_t id) {
    const int64_t bytes = 4 * Length(step.tokens) * (1 + 4 * step.depth);
    if (bytes > kMaxBytes) return;
    for (const Entry& entry : entries_) {
      if (Common(entry.tokens, step.tokens) == Length(step.tokens) && entry.depth >= step.depth)
        return;
    }
    entries_.remove_if([&](const Entry& entry) { return entry.tokens == step.tokens; });
    while (Bytes() + bytes > kMaxBytes) entries_.pop_back();
    entries_.push_front({step.tokens, step.depth, id, bytes});
  }

  bool Agrees(const BaselineCache::Counts& counts) const {
    return counts.hits == hits_ && counts.prefix_hits == prefix_hits_ && counts.misses == misses_ &&
           counts.bytes == Bytes() && counts.entries == static_cast<int64_t>(entries_.size());
  }

 private:
  struct Entry {
    Tokens tokens;
    int32_t depth;
    int64_t id;  // what is added later has a larger one
    int64_t bytes;
  };

  static int64_t Length(const Tokens& tokens) { return static_cast<int64_t>(tokens.size()); }
  static int64_t Common(const Tokens& a, const Tokens& b) {
    const auto differ = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    return differ.first - a.begin();
  }
  // How many of the tokens the entry can give.
  static int64_t Use(const Entry& entry, const Tokens& tokens) {
    const int64_t common = Common(entry.tokens, tokens);
    return common == Length(tokens) || entry.depth == kLayers ? common : 0;
  }
  static std::vector<int64_t> RankOf(const Entry& entry, const Tokens& tokens) {
    return {Use(entry, tokens), entry.depth, entry.id};
  }
  int64_t Bytes() const {
    int64_t bytes = 0;
    for (const Entry& entry : entries_) bytes += entry.bytes;
    return bytes;
  }

  std::list<Entry> entries_;  // the least recently used last
  int64_t hits_ = 0, prefix_hits_ = 0, misses_ = 0;
};

Wrong Compare(const std::vector<Step>& steps) {
  BaselineCache cache(kMaxBytes, kLayers);
  PlainList list;
  for (size_t i = 0; i < steps.size(); ++i) {
    const int64_t id = static_cast<int64_t>(i) + 1;
    if (steps[i].depth >= 0) {
      cache.Add("", MakeState(steps[i], id));
      list.Add(steps[i], id);
    } else {
      const auto found = cache.Find("", steps[i].tokens);
      const PlainList::Found expected = list.Find(steps[i].tokens);
      if ((found == nullptr ? 0 : found->length()) != expected.length)
        return absl::StrCat("step ", i, " does not find ", expected.length, " tokens");
      if (found == nullptr) continue;
      if (found->resid[0].flatten()[0].item<int64_t>() != expected.id)
        return absl::StrCat("step ", i, " does not find what step ", expected.id - 1, " added");
      if (!std::equal(found->tokens.begin(), found->tokens.end(), steps[i].tokens.begin()))
        return absl::StrCat("step ", i, " finds other tokens");
    }
    if (cache.counts().bytes > kMaxBytes) return absl::StrCat("step ", i, " exceeds the bytes");
    if (!list.Agrees(cache.counts())) return absl::StrCat("step ", i, " counts otherwise");
  }
  return std::nullopt;
}

TEST(BaselineCacheModel, IsAPlainList) {
  test::RunAgainstModel<Step>(40'000, 400, MakeStep, Compare, TextOf);
}

}  // namespace
}  // namespace scalpel::engine
