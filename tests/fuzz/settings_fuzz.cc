// Fuzzes the settings. What the flags, the environment and the file together say is the same when
// flags alone say it.

#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/config/config.h"
#include "server/config/settings.h"
#include "tests/fuzz/fuzz.h"

namespace {

using scalpel::Config;

absl::StatusOr<Config> Read(const std::vector<std::string>& flags,
                            const std::vector<std::string>& environment) {
  std::vector<const char*> arguments = {"scalpel-server"}, variables;
  for (const std::string& flag : flags) arguments.push_back(flag.c_str());
  for (const std::string& variable : environment) variables.push_back(variable.c_str());
  variables.push_back(nullptr);
  return scalpel::ReadConfig(static_cast<int>(arguments.size()), arguments.data(),
                             variables.data());
}

// What a configuration comes to, wherever it was given.
std::string Facts(const Config& config) {
  return absl::StrCat(config.help, config.version, config.healthcheck, config.new_token, "\n",
                      config.model.native(), "\n", config.model_name, config.device, config.vectors,
                      config.threads, config.listen, "\n", config.tls_cert.native(),
                      config.tls_key.native(), config.tls_client_ca.native(),
                      config.tokens.native(), config.allow_insecure, config.metrics_listen, "\n",
                      config.log_level, config.log_format, " ", config.slow_call_ms, " ",
                      config.lame_duck_seconds, " ", config.transport_bytes, " ",
                      config.drain_seconds, "\n", config.limits->SerializeAsString());
}

}  // namespace

// Lines that begin with a dash are flags, those that begin with SCALPEL_ are variables, and the
// others are the lines of the file. `FILE` in a flag or variable stands for the file's path.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* folder = new scalpel::fuzz::Folder;
  static const std::string* path = new std::string(folder->path() / "settings.json");
  std::vector<std::string> flags, environment;
  std::string file;
  for (std::string_view text = scalpel::fuzz::Text(data, size); !text.empty();) {
    std::string line(scalpel::fuzz::Cut(&text, '\n'));
    if (absl::StartsWith(line, "-") || absl::StartsWith(line, "SCALPEL_")) {
      // Another file than ours is not read: it could be /dev/stdin.
      const size_t config = line.find("onfig");
      const size_t upper = line.find("CONFIG");
      if (config != std::string::npos) line = "--config=" + *path;
      if (upper != std::string::npos) line = "SCALPEL_CONFIG=" + *path;
      (line[0] == '-' ? flags : environment).push_back(line.substr(0, line.find('\0')));
    } else {
      file += line + "\n";
    }
  }
  folder->Write("settings.json", file);
  const auto config = Read(flags, environment);
  if (!config.ok()) {
    HOLDS(absl::IsInvalidArgument(config.status()));
    scalpel::fuzz::HoldsForMessage(config.status());
    return 0;
  }
  const std::string line = SettingsLine(*config);
  HOLDS(line.find('\n') == std::string::npos);
  std::vector<std::string> all;
  for (const auto& [name, given] : config->given) {
    // Some switches take no value.
    const bool on = scalpel::FindSetting(name)->value.empty() && given.value == "true";
    all.push_back(on ? absl::StrCat("--", name) : absl::StrCat("--", name, "=", given.value));
  }
  const auto again = Read(all, {});
  HOLDS(again.ok() && Facts(*again) == Facts(*config));
  return 0;
}
