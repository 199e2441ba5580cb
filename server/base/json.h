// Parses JSON from untrusted files: duplicate keys, deep nesting and too many values are errors.

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
  size_t depth_max = 16;          // levels of nested objects and arrays
  size_t values_max = 1'000'000;  // values and keys in the whole text
};

// Parses `text`, which must be exactly one JSON value. Returns INVALID_ARGUMENT with the offending
// byte or key; the message is phrased to follow a file name, as in "config.json: " + message. Does
// not throw on bad input. Thread-safe.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// Returns a name from an untrusted file quoted, escaped and shortened, so that an error message
// that contains it stays one readable line.
std::string QuotedName(absl::string_view name);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_JSON_H_
