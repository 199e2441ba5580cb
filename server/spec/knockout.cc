#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/spec/interventions.h"

namespace scalpel::spec {
namespace {

// A list of pairs is long where the request's is: so many of them count as a place.
constexpr int64_t kPairsOfPlace = 64;

// The (query, key) pairs of a knockout in a prompt of `length` tokens, each once; nullopt after a
// violation.
std::optional<std::vector<AttentionPair>> ResolvePairs(Compilation& c, const InterventionItem& item,
                                                       int64_t length) {
  const std::string field = absl::StrCat(item.operation_field, ".pairs");
  const auto& pairs = item.spec->knockout().pairs();
  std::vector<AttentionPair> resolved;
  for (int i = 0; i < pairs.size(); ++i) {
    const int64_t query = FromStart(pairs[i].query(), length),
                  key = FromStart(pairs[i].key(), length);
    if (query < 0 || query >= length || key < 0 || key > query) {
      c.violations.Add(absl::StrCat(field, "[", i, "]"),
                       absl::StrCat("(", pairs[i].query(), ", ", pairs[i].key(),
                                    ") is not within 0 <= key <= query < ", length));
      return std::nullopt;
    }
    resolved.push_back({query, key});
  }
  std::sort(resolved.begin(), resolved.end());
  resolved.erase(std::unique(resolved.begin(), resolved.end()), resolved.end());
  resolved.shrink_to_fit();
  return resolved;
}

}  // namespace

bool AddPairs(Compilation& c, InterventionItem& item, int64_t length, Step& step) {
  const auto& where = item.spec->place().where();
  if (where.has_positions() || where.has_key_positions()) {
    c.violations.Add(absl::StrCat(item.operation_field, ".pairs"),
                     "is given together with positions in `where`; give one of them");
    return false;
  }
  InterventionItem::Pairs& known = item.pairs_by_length[length];
  if (known.pairs == nullptr) {
    const int64_t given = item.spec->knockout().pairs_size();
    if (!CountPlaces(c, given / kPairsOfPlace, item.field)) return false;
    auto pairs = ResolvePairs(c, item, length);
    if (!pairs) return false;
    std::set<int64_t> queries, keys;
    for (const AttentionPair& pair : *pairs) {
      queries.insert(pair.query);
      keys.insert(pair.key);
    }
    known.target = std::make_shared<const Region>(std::vector<IndexSet>{
        step.target->axis(0), IndexSet::List({queries.begin(), queries.end()}),
        IndexSet::List({keys.begin(), keys.end()})});
    known.pairs = std::make_shared<const std::vector<AttentionPair>>(*std::move(pairs));
  }
  step.target = known.target;
  step.pairs = known.pairs;
  return true;
}

}  // namespace scalpel::spec
