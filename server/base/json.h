// JSON from files that are not trusted: duplicate keys, depth and size are errors.

#ifndef SCALPEL_SERVER_BASE_JSON_H_
#define SCALPEL_SERVER_BASE_JSON_H_

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace scalpel {

struct JsonLimits {
  size_t depth_max = 16;          // nested objects and arrays
  size_t values_max = 1'000'000;  // values of any kind, and keys, in the whole text
};

// Parses one JSON value that fills `text`. INVALID_ARGUMENT with the byte or key at fault; the
// message fits after a file's name: "config.json: " + message. Never throws on bad input.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// A name from a file, quoted, escaped and shortened, so that a message stays one readable line.
std::string QuotedName(absl::string_view name);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_JSON_H_
