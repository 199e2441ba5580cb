// The server's configuration, from flags, environment variables and a settings file.

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

// Where a setting's value came from, in descending order of precedence.
enum class Source { kFlag, kEnvironment, kFile };

// A value that the operator has given.
struct Given {
  std::string value;  // as written
  Source source;
};

struct Config {
  // Commands to run instead of serving.
  bool help = false;         // print HelpText() and exit
  bool version = false;      // print the version and exit
  bool healthcheck = false;  // ask the server at `listen` for its health and exit
  std::string new_token;     // print a new token for this caller name and exit; empty: do not

  std::filesystem::path model;  // the folder
  std::string model_name;
  std::string device = "auto";   // auto, cpu or cuda
  std::string vectors = "auto";  // for CPU kernels: auto, avx512, avx2, neon or portable
  int threads = 0;               // 0: one for each hardware thread

  std::string listen = "127.0.0.1:50051";  // HOST:PORT
  std::filesystem::path tls_cert;          // PEM files; empty: no TLS
  std::filesystem::path tls_key;
  std::filesystem::path tls_client_ca;  // empty: clients need no certificate
  std::filesystem::path tokens;         // the token file; empty: callers need no token
  bool allow_insecure = false;          // allow a reachable `listen` without TLS or authentication
  std::string metrics_listen;           // HOST:PORT; empty: metrics are not served
  std::string cache_scope = "shared";   // shared or caller: see v1::CacheScope

  std::string log_level = "info";   // a level of spdlog
  std::string log_format = "text";  // text or json
  int slow_call_ms = 10'000;        // calls that take longer are logged as slow; 0: none are
  int lame_duck_seconds = 0;        // how long to serve, reporting NOT_SERVING, after SIGTERM

  Limits limits;
  int64_t transport_bytes = int64_t{256} << 20;  // received and not yet handed over, at most
  int drain_seconds = 30;  // from SIGTERM, or the end of the lame duck, to the end

  std::filesystem::path file;                       // the settings file; empty: none
  std::map<std::string, Given, std::less<>> given;  // by the flag's name; without defaults
};

// Reads the configuration from
// - the flags, `--flag value` or `--flag=value`; if a flag is repeated, the last one counts;
// - the environment variables SCALPEL_FLAG; `environment` ends with null, as environ does;
// - the JSON file that --config names, if any. No other file is opened.
//
// With --help, --version or --new-token, only the flags are read and no setting is required; with
// --healthcheck, no setting is required. Returns INVALID_ARGUMENT with one line that names the
// flag, the variable or `FILE: key` at fault, and the remedy.
absl::StatusOr<Config> ReadConfig(int argc, const char* const* argv,
                                  const char* const* environment);

// Returns the name by which the operator gave a setting, for messages: `--listen`,
// `SCALPEL_LISTEN` or `FILE: listen`. It is the flag if the setting has its default.
std::string GivenName(const Config& config, absl::string_view flag);

// Returns one line for the log with all given settings and their sources. It holds no secret,
// because secrets are kept in files.
std::string SettingsLine(const Config& config);

// Returns the default of --model-name: the folder's own name, or NAME for a snapshot in the
// HuggingFace cache, models--ORG--NAME/snapshots/REVISION.
std::string DefaultModelName(const std::filesystem::path& folder);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_CONFIG_H_
