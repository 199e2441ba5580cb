// The kinds of values that settings have. Each function sets *out, or returns what is wrong with
// the text and what would be right; the message fits after the quoted text.

#ifndef SCALPEL_SERVER_CONFIG_SETTERS_H_
#define SCALPEL_SERVER_CONFIG_SETTERS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace scalpel {

std::string SetInteger(absl::string_view text, int64_t least, int64_t most, int64_t* out);
std::string SetInteger(absl::string_view text, int64_t least, int64_t most, int32_t* out);

// true or 1, false or 0.
std::string SetSwitch(absl::string_view text, bool* out);

std::string SetChoice(absl::string_view text, absl::Span<const absl::string_view> choices,
                      std::string* out);

// `what`: such as `a folder`.
std::string SetPath(absl::string_view text, absl::string_view what, std::filesystem::path* out);

// Visible ASCII, 1 to `most` characters.
std::string SetName(absl::string_view text, size_t most, std::string* out);

// HOST:PORT, with IPv6 hosts in brackets.
std::string SetAddress(absl::string_view text, std::string* out);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_SETTERS_H_
