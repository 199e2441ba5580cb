// Reads each of the three places where settings are given. An unknown name is an error everywhere,
// with the known one that it resembles.

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

struct Assignment {
  const Setting* setting;
  std::string value;
  Source source;
};

// In order; `--flag value` or `--flag=value`.
absl::StatusOr<std::vector<Assignment>> ReadFlags(int argc, const char* const* argv);

// Variables that begin with SCALPEL_. An empty one is as good as none. Not ours, and passed over,
// are those that clients read and those by which Kubernetes tells of a service of such a name.
absl::StatusOr<std::vector<Assignment>> ReadEnvironment(const char* const* environment);

// One JSON object of at most 1 MiB, from flags' names to text, numbers, true or false.
absl::StatusOr<std::vector<Assignment>> ReadFile(const std::filesystem::path& file);

// The beginning of a user's text, so that a message stays one readable line.
std::string Excerpt(absl::string_view text);

// How `source` names a setting: `--listen`, `SCALPEL_LISTEN` or `FILE: listen`.
std::string NameIn(Source source, absl::string_view flag, const std::filesystem::path& file);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_SOURCES_H_
