// UTF-8: iteration, repair and truncation. All functions are thread-safe.

#ifndef SCALPEL_SERVER_BASE_UTF8_H_
#define SCALPEL_SERVER_BASE_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace scalpel {

struct Utf8Step {
  size_t bytes;  // length of the character, or of an invalid sequence to be replaced as a whole
  bool valid;
};

// Returns the first step of `text`, which must not be empty. An invalid sequence is a "maximal
// subpart" as defined by the Unicode Standard, section 3.9; Rust and Python also replace it by a
// single U+FFFD.
Utf8Step NextUtf8(std::string_view text);

// Returns the text with each invalid sequence replaced by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

// Returns how many bytes at the text's end begin a character that further bytes may complete: at
// most 3.
size_t UnfinishedUtf8(std::string_view text);

// Returns as many whole characters as fit into `bytes_max`, from the text's beginning.
absl::string_view Beginning(absl::string_view text, size_t bytes_max);

// Returns the text in a form that stays one line: with an escape for each ASCII control character,
// such as \n, and U+FFFD for each invalid sequence.
std::string OneLine(absl::string_view text);

// Returns the text if it has at most `bytes_max` bytes. Otherwise returns as many whole characters
// as fit into `bytes_max`, followed by "…", which comes on top of `bytes_max`.
std::string Truncated(absl::string_view text, size_t bytes_max);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_UTF8_H_
