#include "server/config/sources.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "server/base/json.h"
#include "server/base/suggestion.h"
#include "server/base/utf8.h"

namespace scalpel {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "SCALPEL_";
constexpr size_t kFileBytesMax = 1 << 20;
// Nested values are not allowed, but one level is parsed, so that the error can name the key.
constexpr JsonLimits kJsonLimits{/*depth_max=*/2, /*values_max=*/10'000};
// Variables of the clients, which may run beside the server.
constexpr absl::string_view kClientVariables[] = {"SCALPEL_SERVER", "SCALPEL_SERVER_ADDRESS",
                                                  "SCALPEL_TOKEN"};

// Returns SCALPEL_MAX_TOKENS for max-tokens.
std::string VariableName(absl::string_view flag) {
  return absl::StrCat(kPrefix, absl::AsciiStrToUpper(absl::StrReplaceAll(flag, {{"-", "_"}})));
}

absl::Status Wrong(absl::string_view name, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", problem));
}

bool MayGive(Source source, const Setting& setting) {
  switch (setting.where) {
    case Where::kAnywhere:
      return true;
    case Where::kNotInFile:
      return source != Source::kFile;
    case Where::kFlagOnly:
      return source == Source::kFlag;
  }
  return false;
}

// The error for `name`, as the operator wrote it, that is not a setting. `flag`: `name` written as
// a flag's name.
absl::Status Unknown(Source source, absl::string_view name, absl::string_view flag,
                     const fs::path& file) {
  std::vector<absl::string_view> known;
  for (const SettingGroup& group : SettingGroups()) {
    for (const Setting& setting : group.settings) {
      if (MayGive(source, setting)) known.push_back(setting.name);
    }
  }
  const absl::string_view what = source == Source::kFlag ? "no such flag" : "no such setting";
  const absl::string_view meant = Suggestion(flag, known);
  if (meant.empty()) return Wrong(name, absl::StrCat(what, "; --help lists them"));
  // A key is suggested without the file's name, with which the message already begins.
  const std::string suggested =
      source == Source::kFile ? std::string(meant) : NameIn(source, meant, file);
  return Wrong(name, absl::StrCat(what, "; did you mean ", suggested, "?"));
}

absl::Status NotAllowedHere(absl::string_view name, const Setting& setting) {
  return Wrong(name, absl::StrCat("belongs on the command line; give --", setting.name));
}

// Reads the flag at argv[*next], and moves *next past it and its value.
absl::StatusOr<Assignment> ReadFlag(int argc, const char* const* argv, int* next) {
  const absl::string_view argument = argv[(*next)++];
  absl::string_view name = argument.substr(0, argument.find('='));
  const bool given = name.size() < argument.size();
  const bool dashes = absl::ConsumePrefix(&name, "--");
  const Setting* setting = FindSetting(name);
  if (setting == nullptr || !dashes) {
    return Unknown(Source::kFlag, Excerpt(argument), name, {});
  }
  const std::string flag = absl::StrCat("--", name);
  if (given) {
    if (setting->value.empty() && setting->where == Where::kFlagOnly) {
      return Wrong(flag, "takes no value; leave it out");
    }
    return Assignment{setting, std::string(argument.substr(argument.find('=') + 1)), Source::kFlag};
  }
  if (setting->value.empty()) return Assignment{setting, "true", Source::kFlag};
  if (*next >= argc) {
    return Wrong(flag, absl::StrCat("needs a value: ", flag, " ", setting->value));
  }
  return Assignment{setting, argv[(*next)++], Source::kFlag};
}

// Kubernetes sets variables for each service of a container's namespace: for one called scalpel-x,
// SCALPEL_X_PORT, SCALPEL_X_SERVICE_HOST, SCALPEL_X_PORT_50051_TCP_ADDR and the like.
bool IsServiceLink(absl::string_view variable) {
  if (absl::EndsWith(variable, "_PORT") || absl::EndsWith(variable, "_SERVICE_HOST") ||
      absl::StrContains(variable, "_SERVICE_PORT_")) {
    return true;
  }
  constexpr absl::string_view kPort = "_PORT_";
  const size_t port = variable.find(kPort);
  return port != absl::string_view::npos && port + kPort.size() < variable.size() &&
         absl::ascii_isdigit(static_cast<unsigned char>(variable[port + kPort.size()]));
}

absl::StatusOr<std::string> ReadBytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string bytes(kFileBytesMax + 1, '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!in.is_open() || in.bad()) {
    return Wrong(file.string(), absl::StrCat("cannot be read: ", std::strerror(errno)));
  }
  bytes.resize(static_cast<size_t>(in.gcount()));
  if (bytes.size() > kFileBytesMax) return Wrong(file.string(), "is larger than 1 MiB");
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<Assignment>> ReadFlags(int argc, const char* const* argv) {
  std::vector<Assignment> read;
  for (int next = 1; next < argc;) {
    absl::StatusOr<Assignment> one = ReadFlag(argc, argv, &next);
    if (!one.ok()) return one.status();
    read.push_back(*std::move(one));
  }
  return read;
}

absl::StatusOr<std::vector<Assignment>> ReadEnvironment(const char* const* environment) {
  std::vector<Assignment> read;
  for (const char* const* entry = environment; *entry != nullptr; ++entry) {
    const absl::string_view variable = *entry;
    const absl::string_view name = variable.substr(0, variable.find('='));
    if (!absl::StartsWith(name, kPrefix) || name.size() == variable.size()) continue;
    const std::string flag =
        absl::AsciiStrToLower(absl::StrReplaceAll(absl::StripPrefix(name, kPrefix), {{"_", "-"}}));
    const Setting* setting = name == VariableName(flag) ? FindSetting(flag) : nullptr;
    if (setting == nullptr) {
      if (absl::c_linear_search(kClientVariables, name) || IsServiceLink(name)) continue;
      return Unknown(Source::kEnvironment, Excerpt(name), flag, {});
    }
    if (!MayGive(Source::kEnvironment, *setting)) return NotAllowedHere(name, *setting);
    const absl::string_view value = variable.substr(name.size() + 1);
    if (!value.empty()) read.push_back({setting, std::string(value), Source::kEnvironment});
  }
  return read;
}

absl::StatusOr<std::vector<Assignment>> ReadFile(const fs::path& file) {
  const absl::StatusOr<std::string> bytes = ReadBytes(file);
  if (!bytes.ok()) return bytes.status();
  const absl::StatusOr<nlohmann::json> json = ParseJson(*bytes, kJsonLimits);
  if (!json.ok()) return Wrong(file.string(), json.status().message());
  if (!json->is_object()) {
    return Wrong(file.string(), "is not a JSON object; give one that maps flags to values");
  }
  std::vector<Assignment> read;
  for (const auto& [key, value] : json->items()) {
    const std::string name = NameIn(Source::kFile, Excerpt(key), file);
    const Setting* setting = FindSetting(key);
    if (setting == nullptr) return Unknown(Source::kFile, name, key, file);
    if (!MayGive(Source::kFile, *setting)) return NotAllowedHere(name, *setting);
    if (value.is_structured() || value.is_null()) {
      return Wrong(name, "is not a string, number, true or false");
    }
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (absl::StrContains(text, '\0')) return Wrong(name, "has a NUL; leave it out");
    read.push_back({setting, std::move(text), Source::kFile});
  }
  return read;
}

std::string Excerpt(absl::string_view text) {
  constexpr size_t kShownMax = 120;
  return absl::StrCat(OneLine(Beginning(text, kShownMax)), text.size() > kShownMax ? "..." : "");
}

std::string NameIn(Source source, absl::string_view flag, const fs::path& file) {
  switch (source) {
    case Source::kFlag:
      return absl::StrCat("--", flag);
    case Source::kEnvironment:
      return VariableName(flag);
    case Source::kFile:
      return absl::StrCat(file.string(), ": ", flag);
  }
  return "";
}

}  // namespace scalpel
