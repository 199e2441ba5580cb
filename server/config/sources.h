// Reads each of the three sources of settings. All functions return INVALID_ARGUMENT with one line
// that names the setting at fault. For an unknown name it suggests a known one that is similar.

#ifndef SCALPEL_SERVER_CONFIG_SOURCES_H_
#define SCALPEL_SERVER_CONFIG_SOURCES_H_

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/config/config.h"
#include "server/config/settings.h"

namespace scalpel {

// A setting and the value that a source gives to it. The value is not parsed yet.
struct Assignment {
  const Setting* setting;
  std::string value;
  Source source;
};

// Reads the flags in order: `--flag value`, `--flag=value`, or `--flag` for a switch.
absl::StatusOr<std::vector<Assignment>> ReadFlags(int argc, const char* const* argv);

// Reads the variables that begin with SCALPEL_; `environment` ends with null. Ignores empty ones,
// those that only clients read, and those that Kubernetes sets for a service called scalpel-x.
absl::StatusOr<std::vector<Assignment>> ReadEnvironment(const char* const* environment);

// Reads a file of at most 1 MiB that holds one JSON object. Its keys are names of flags, and its
// values are strings, numbers, true or false.
absl::StatusOr<std::vector<Assignment>> ReadFile(const std::filesystem::path& file);

// Returns the beginning of a text from the operator, in a form that is short enough for a message
// and stays one line.
std::string Excerpt(absl::string_view text);

// Returns the name of a setting in a source: `--listen`, `SCALPEL_LISTEN` or `FILE: listen`.
std::string NameIn(Source source, absl::string_view flag, const std::filesystem::path& file);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_SOURCES_H_
