#include "server/config/config.h"

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/config/checks.h"
#include "server/config/settings.h"
#include "server/config/sources.h"

namespace scalpel {
namespace {

namespace fs = std::filesystem;

absl::string_view SourceText(Source source) {
  switch (source) {
    case Source::kFlag:
      return "flag";
    case Source::kEnvironment:
      return "environment";
    case Source::kFile:
      return "file";
  }
  return "";
}

// Applies the assignments of one source, except for settings that an earlier source has set.
absl::Status Merge(const std::vector<Assignment>& assignments, Config* config) {
  for (const Assignment& assignment : assignments) {
    const Setting& setting = *assignment.setting;
    const auto before = config->given.find(setting.name);
    if (before != config->given.end() && before->second.source != assignment.source) continue;
    const std::string problem = setting.set(assignment.value, config);
    if (!problem.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(NameIn(assignment.source, setting.name, config->file), ": \"",
                       Excerpt(assignment.value), "\" ", problem));
    }
    config->given.insert_or_assign(setting.name, Given{assignment.value, assignment.source});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> ReadConfig(int argc, const char* const* argv,
                                  const char* const* environment) {
  Config config;
  auto assignments = ReadFlags(argc, argv);
  if (!assignments.ok()) return assignments.status();
  if (absl::Status status = Merge(*assignments, &config); !status.ok()) return status;
  if (config.help || config.version || !config.new_token.empty()) return config;

  assignments = ReadEnvironment(environment);
  if (!assignments.ok()) return assignments.status();
  if (absl::Status status = Merge(*assignments, &config); !status.ok()) return status;
  if (!config.file.empty()) {
    assignments = ReadFile(config.file);
    if (!assignments.ok()) return assignments.status();
    if (absl::Status status = Merge(*assignments, &config); !status.ok()) return status;
  }
  if (config.healthcheck) return config;
  if (absl::Status status = CheckConfig(config); !status.ok()) return status;
  if (config.model_name.empty()) config.model_name = DefaultModelName(config.model);
  return config;
}

std::string GivenName(const Config& config, absl::string_view flag) {
  const auto given = config.given.find(flag);
  const Source source = given == config.given.end() ? Source::kFlag : given->second.source;
  return NameIn(source, flag, config.file);
}

std::string SettingsLine(const Config& config) {
  std::string line;
  for (const auto& [name, given] : config.given) {
    absl::StrAppend(&line, line.empty() ? "" : ", ", name, "=", absl::Utf8SafeCEscape(given.value),
                    " (", SourceText(given.source), ")");
  }
  return line.empty() ? "all by default" : line;
}

std::string DefaultModelName(const fs::path& folder) {
  fs::path path = fs::absolute(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // drops a trailing slash
  const fs::path snapshots = path.parent_path();
  if (snapshots.filename() == "snapshots") {
    const std::string repository = snapshots.parent_path().filename().string();
    const size_t dashes = repository.rfind("--");
    if (repository.compare(0, 8, "models--") == 0) return repository.substr(dashes + 2);
  }
  return path.has_filename() ? path.filename().string() : "model";  // the root has no name
}

}  // namespace scalpel
