// "Did you mean": the known name that a mistyped one resembles.

#ifndef SCALPEL_SERVER_BASE_SUGGESTION_H_
#define SCALPEL_SERVER_BASE_SUGGESTION_H_

#include <vector>

#include "absl/strings/string_view.h"

namespace scalpel {

// The name at the smallest edit distance (Levenshtein), the first of several; empty where each
// differs in more than a third of what was typed, and one letter.
absl::string_view Suggestion(absl::string_view typed, const std::vector<absl::string_view>& known);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_SUGGESTION_H_
