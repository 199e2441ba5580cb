#include "server/base/suggestion.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

namespace scalpel {
namespace {

// How many letters must be inserted, deleted or replaced to make one of the other.
size_t EditDistance(absl::string_view from, absl::string_view to) {
  // Row by row of the usual table: distances[j] is that of from's beginning to to's first j
  // letters.
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
  constexpr size_t kLettersMax = 64;  // longer ones resemble nothing, and would take time
  if (typed.size() > kLettersMax) return "";
  absl::string_view nearest;
  size_t least = typed.size() / 3 + 2;  // two letters of a short one may have changed places
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
