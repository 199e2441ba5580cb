// "Did you mean" suggestions for mistyped names.

#ifndef SCALPEL_SERVER_BASE_SUGGESTION_H_
#define SCALPEL_SERVER_BASE_SUGGESTION_H_

#include <vector>

#include "absl/strings/string_view.h"

namespace scalpel {

// Returns the name in `known` with the smallest Levenshtein distance to `typed`; on a tie, the
// first. Returns an empty view if every distance exceeds a third of the length of `typed` plus one,
// or if `typed` is longer than 64 bytes. Thread-safe.
absl::string_view Suggestion(absl::string_view typed, const std::vector<absl::string_view>& known);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_SUGGESTION_H_
