// What the server was told: by flags, by its environment and by a file of settings.

#ifndef SCALPEL_SERVER_CONFIG_CONFIG_H_
#define SCALPEL_SERVER_CONFIG_CONFIG_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/contract/limits.h"

namespace scalpel {

// Where a setting's value came from; the first one beats those behind it, and all beat the default.
enum class Source { kFlag, kEnvironment, kFile };

struct Given {
  std::string value;  // as it was written
  Source source;
};

struct Config {
  // What to do instead of serving.
  bool help = false;         // print HelpText() and exit
  bool version = false;      // print the version and exit
  bool healthcheck = false;  // ask the server at `listen` for its health and exit
  std::string new_token;     // print a new token of this name and exit; empty: do not

  std::filesystem::path model;  // the folder
  std::string model_name;
  std::string device = "auto";   // auto, cpu or cuda
  std::string vectors = "auto";  // of the kernels: auto, avx512, avx2, neon or portable
  int threads = 0;               // 0: one for each hardware thread

  std::string listen = "127.0.0.1:50051";  // HOST:PORT
  std::filesystem::path tls_cert;          // files in PEM; empty: no TLS
  std::filesystem::path tls_key;
  std::filesystem::path tls_client_ca;  // empty: no client needs a certificate
  std::filesystem::path tokens;         // the file of who may call; empty: no call needs a token
  bool allow_insecure = false;          // listen where others reach it, whoever they are
  std::string metrics_listen;           // HOST:PORT; empty: nowhere

  std::string log_level = "info";   // a level of spdlog
  std::string log_format = "text";  // text or json
  int slow_call_ms = 10'000;        // calls that take longer are logged; 0: none
  int lame_duck_seconds = 0;        // from SIGTERM, unhealthy and yet serving, to the drain

  Limits limits;
  int64_t transport_bytes = int64_t{256} << 20;  // received and not yet handed over, at most
  int drain_seconds = 30;  // from SIGTERM, or the end of the lame duck, to the end

  std::filesystem::path file;                       // of settings; empty: none
  std::map<std::string, Given, std::less<>> given;  // by the flag's name: all but the defaults
};

// Reads the flags, `--flag value` or `--flag=value` (the last of several counts), the variables
// SCALPEL_FLAG, and the JSON file that --config names, and no other file. INVALID_ARGUMENT is one
// line that names the flag, the variable or `FILE: key`, and the remedy. `environment` ends with
// null, as environ does. With --help, --version or --new-token nothing else is read or required;
// with --healthcheck nothing is required.
absl::StatusOr<Config> ReadConfig(int argc, const char* const* argv,
                                  const char* const* environment);

// How the operator gave a setting, for messages about it: `--listen`, `SCALPEL_LISTEN` or
// `FILE: listen`; the flag, where it has its default.
std::string GivenName(const Config& config, absl::string_view flag);

// All settings that are not left to their defaults and where each came from, in one line for the
// log. None of them is a secret: who may call is in files.
std::string SettingsLine(const Config& config);

// What --model-name is by default: the folder's own name; NAME for a snapshot of the HuggingFace
// cache, models--ORG--NAME/snapshots/REVISION.
std::string DefaultModelName(const std::filesystem::path& folder);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_CONFIG_H_
