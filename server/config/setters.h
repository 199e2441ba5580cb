// Parsers for the kinds of values that settings have. Each function parses `text` into *out and
// returns "". If `text` is invalid, it leaves *out alone and returns what is wrong and what would
// be valid, phrased to follow the quoted text.

#ifndef SCALPEL_SERVER_CONFIG_SETTERS_H_
#define SCALPEL_SERVER_CONFIG_SETTERS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace scalpel {

// A decimal integer in [least, most].
std::string SetInteger(absl::string_view text, int64_t least, int64_t most, int64_t* out);
std::string SetInteger(absl::string_view text, int64_t least, int64_t most, int32_t* out);

// `true` or `1`, `false` or `0`.
std::string SetSwitch(absl::string_view text, bool* out);

// One of `choices`.
std::string SetChoice(absl::string_view text, absl::Span<const absl::string_view> choices,
                      std::string* out);

// A path, which must not be empty. `what`: what to give, for the message, such as `a folder`.
std::string SetPath(absl::string_view text, absl::string_view what, std::filesystem::path* out);

// 1 to `most` characters of visible ASCII.
std::string SetName(absl::string_view text, size_t most, std::string* out);

// HOST:PORT, with IPv6 hosts in brackets.
std::string SetAddress(absl::string_view text, std::string* out);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_SETTERS_H_
