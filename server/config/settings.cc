#include "server/config/settings.h"

#include <cstdint>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/config/setters.h"
#include "server/contract/limits.h"

namespace scalpel {
namespace {

using Text = const std::string&;

Setting Path(std::string name, std::string value, std::string help, absl::string_view what,
             std::filesystem::path Config::*member) {
  return {std::move(name), std::move(value), std::move(help),
          [=](Text text, Config* config) { return SetPath(text, what, &(config->*member)); }};
}

Setting Address(std::string name, std::string help, std::string Config::*member) {
  return {std::move(name), "HOST:PORT", std::move(help),
          [member](Text text, Config* config) { return SetAddress(text, &(config->*member)); }};
}

Setting Choice(std::string name, std::string value, std::string help,
               std::vector<absl::string_view> choices, std::string Config::*member) {
  return {std::move(name), std::move(value), std::move(help),
          [=](Text text, Config* config) { return SetChoice(text, choices, &(config->*member)); }};
}

template <typename Int>
Setting Integer(std::string name, std::string help, int64_t least, int64_t most,
                Int Config::*member) {
  return {std::move(name), "N", std::move(help), [=](Text text, Config* config) {
            return SetInteger(text, least, most, &(config->*member));
          }};
}

Setting Switch(std::string name, std::string help, bool Config::*member) {
  return {std::move(name), "", std::move(help),
          [member](Text text, Config* config) { return SetSwitch(text, &(config->*member)); }};
}

Setting Name(std::string name, std::string help, size_t most, std::string Config::*member) {
  return {std::move(name), "NAME", std::move(help),
          [=](Text text, Config* config) { return SetName(text, most, &(config->*member)); }};
}

Setting Restricted(Where where, Setting setting) {
  setting.where = where;
  return setting;
}

// 1 GiB for a number of bytes, where it is a whole one.
std::string AmountText(absl::string_view flag, int64_t value) {
  if (!absl::StrContains(flag, "bytes") || value == 0) return absl::StrCat(value);
  for (const auto& [shift, unit] :
       {std::pair(30, " GiB"), std::pair(20, " MiB"), std::pair(10, " KiB")}) {
    if (value % (int64_t{1} << shift) == 0) return absl::StrCat(value >> shift, unit);
  }
  return absl::StrCat(value);
}

Setting OfLimit(const contract::LimitField& field) {
  const v1::LimitFacts& facts = field.facts();
  return {field.flag(), "N",
          absl::StrCat(facts.help(), " (default ", AmountText(field.flag(), facts.default_value()),
                       ")"),
          [&field](Text text, Config* config) {
            int64_t value = 0;
            std::string problem =
                SetInteger(text, field.facts().least(), field.facts().most(), &value);
            if (problem.empty()) field.Set(value, &*config->limits);
            return problem;
          }};
}

std::vector<Setting> LimitSettings(v1::LimitScope scope) {
  std::vector<Setting> settings;
  for (const contract::LimitField& field : contract::LimitFields()) {
    if (field.facts().scope() == scope) settings.push_back(OfLimit(field));
  }
  return settings;
}

// The most of all requests together, with what is no concern of those who send them.
std::vector<Setting> ServerLimitSettings() {
  std::vector<Setting> settings = LimitSettings(v1::LIMIT_SCOPE_SERVER);
  settings.push_back(Integer("transport-bytes",
                             "received and not yet handed over, all together (default 256 MiB)",
                             int64_t{1} << 20, int64_t{1} << 40, &Config::transport_bytes));
  settings.push_back(Integer("drain-seconds",
                             "how long calls may go on after SIGTERM or Ctrl-C (default 30)", 0,
                             3600, &Config::drain_seconds));
  return settings;
}

std::vector<Setting> ModelSettings() {
  return {
      Path("model", "DIR", "folder with config.json and model.safetensors (required)",
           "the folder with config.json", &Config::model),
      Name("model-name", "the name that requests may give (default: the folder's)", 128,
           &Config::model_name),
      Choice("device", "DEVICE", "auto, cpu or cuda (default auto)", {"auto", "cpu", "cuda"},
             &Config::device),
      Choice("vectors", "NAME",
             "widest vectors of the CPU kernels: avx512, avx2, neon, portable, or\n"
             "auto (default: the widest available); answers do not depend on it",
             {"auto", "avx512", "avx2", "neon", "portable"}, &Config::vectors),
      Integer("threads", "threads that compute on the CPU (default: all)", 1, 1024,
              &Config::threads),
  };
}

std::vector<Setting> AccessSettings() {
  return {
      Address("listen", "port 0 is any free one (default 127.0.0.1:50051)", &Config::listen),
      Path("tls-cert", "FILE", "the server's certificate and its chain, PEM; turns TLS on",
           "a file in PEM", &Config::tls_cert),
      Path("tls-key", "FILE", "the certificate's private key, PEM", "a file in PEM",
           &Config::tls_key),
      Path("tls-client-ca", "FILE", "CAs of clients' certificates, PEM; every client needs one",
           "a file in PEM", &Config::tls_client_ca),
      Path("tokens", "FILE", "callers and the hashes of their tokens; see --new-token",
           "a JSON file", &Config::tokens),
      Switch("allow-insecure",
             "let other machines call without TLS, or without tokens and\n"
             "client certificates",
             &Config::allow_insecure),
      Address("metrics-listen", "where Prometheus reads metrics over HTTP (default: nowhere)",
              &Config::metrics_listen),
      Choice("cache-scope", "SCOPE",
             "who shares cached clean runs: shared (all callers), or caller (each\n"
             "has its own, so that none learns what others ran; default shared)",
             {"shared", "caller"}, &Config::cache_scope),
  };
}

std::vector<Setting> LifeSettings() {
  return {
      Integer("lame-duck-seconds",
              "how long to keep serving after SIGTERM while health says\n"
              "NOT_SERVING, so that load balancers notice (default 0)",
              0, 3600, &Config::lame_duck_seconds),
      Choice("log-level", "LEVEL", "debug, info, warn, error or off (default info)",
             {"debug", "info", "warn", "error", "off"}, &Config::log_level),
      Choice("log-format", "FORMAT", "text or json (default text)", {"text", "json"},
             &Config::log_format),
      Integer("slow-call-ms", "calls that take longer are logged as slow; 0: none (default 10000)",
              0, 86'400'000, &Config::slow_call_ms),
  };
}

std::vector<Setting> OtherSettings() {
  return {
      Restricted(Where::kNotInFile,
                 Path("config", "FILE", "JSON object from names of flags to values", "a JSON file",
                      &Config::file)),
      Restricted(Where::kFlagOnly,
                 Switch("healthcheck", "ask the server at --listen: exit 0 if it serves, else 1",
                        &Config::healthcheck)),
      Restricted(Where::kFlagOnly, Name("new-token", "print a new token and its entry for --tokens",
                                        64, &Config::new_token)),
      Restricted(Where::kFlagOnly, Switch("help", "print this text", &Config::help)),
      Restricted(Where::kFlagOnly,
                 Switch("version", "print the server's version", &Config::version)),
  };
}

}  // namespace

const std::vector<SettingGroup>& SettingGroups() {
  static const auto* const groups = new std::vector<SettingGroup>{
      {"The model", ModelSettings()},
      {"Network and access", AccessSettings()},
      {"Limits of one request", LimitSettings(v1::LIMIT_SCOPE_REQUEST)},
      {"Limits of the server", ServerLimitSettings()},
      {"Its end, and its log", LifeSettings()},
      {"Other", OtherSettings()},
  };
  return *groups;
}

const Setting* FindSetting(absl::string_view name) {
  for (const SettingGroup& group : SettingGroups()) {
    for (const Setting& setting : group.settings) {
      if (setting.name == name) return &setting;
    }
  }
  return nullptr;
}

}  // namespace scalpel
