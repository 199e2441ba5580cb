// UTF-8: stepping over it, cutting it, repairing it.

#ifndef SCALPEL_SERVER_BASE_UTF8_H_
#define SCALPEL_SERVER_BASE_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace scalpel {

struct Utf8Step {
  size_t bytes;  // of the character, or of the invalid sequence to be replaced as one
  bool valid;
};

// The step at the beginning of `text`, which is not empty. An invalid sequence is as long as
// Unicode's "maximal subpart", which is what Rust and Python replace by one U+FFFD.
Utf8Step NextUtf8(std::string_view text);

// The text with U+FFFD for every invalid sequence.
std::string ReplaceInvalidUtf8(std::string_view text);

// The text, or as many whole characters of it as fit into `bytes_max`, followed by "…".
std::string Shortened(absl::string_view text, size_t bytes_max);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_UTF8_H_
