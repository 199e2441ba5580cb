#include "server/base/suggestion.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

namespace scalpel {
namespace {

// The Levenshtein distance: the least number of bytes to insert, delete or replace.
size_t EditDistance(absl::string_view from, absl::string_view to) {
  // The dynamic programming table, row by row: after row i, distances[j] is the distance between
  // the first i bytes of `from` and the first j bytes of `to`.
  std::vector<size_t> distances(to.size() + 1);
  std::iota(distances.begin(), distances.end(), size_t{0});
  for (size_t i = 1; i <= from.size(); ++i) {
    size_t diagonal = std::exchange(distances[0], i);
    for (size_t j = 1; j <= to.size(); ++j) {
      const size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = distances[j];
      distances[j] = std::min({replaced, distances[j] + 1, distances[j - 1] + 1});
    }
  }
  return distances[to.size()];
}

}  // namespace

absl::string_view Suggestion(absl::string_view typed, const std::vector<absl::string_view>& known) {
  constexpr size_t kLettersMax = 64;  // no known name is that long, and the table is quadratic
  if (typed.size() > kLettersMax) return "";
  absl::string_view nearest;
  size_t least = typed.size() / 3 + 2;  // at least 2, so that a swap is found in a short name
  for (const absl::string_view name : known) {
    const size_t distance = EditDistance(typed, name);
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

}  // namespace scalpel
