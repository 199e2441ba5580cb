// The command line.

#ifndef SCALPEL_SERVER_CONFIG_H_
#define SCALPEL_SERVER_CONFIG_H_

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "server/limits.h"

namespace scalpel {

struct Config {
  bool help = false;         // print HelpText() and exit
  bool version = false;      // print the version and exit
  bool healthcheck = false;  // ask the server at `listen` for its health and exit

  std::filesystem::path model;  // the folder
  std::string model_name;
  std::string listen = "127.0.0.1:50051";  // HOST:PORT
  std::string device = "auto";             // auto, cpu or cuda
  std::string kernels = "auto";            // of linear layers: auto, onednn or mkl
  int threads = 0;                         // 0: one for each hardware thread
  std::string log_level = "info";          // a level of spdlog
  std::string tls_cert, tls_key;           // files; empty: no TLS
  std::string tls_client_ca;               // a file; empty: clients need no certificate
  int lame_duck_seconds = 0;               // served after health has said NOT_SERVING
  Limits limits;
};

// Reads `--flag value` and `--flag=value`; the last of several counts. Looks at no file.
// INVALID_ARGUMENT is one line that names the flag and the remedy. With --help or --version nothing
// else is required.
absl::StatusOr<Config> ParseFlags(int argc, const char* const* argv);

// The flags and their defaults, for --help.
std::string HelpText();

// What --model-name is by default: the folder's own name; NAME for a snapshot of the HuggingFace
// cache, models--ORG--NAME/snapshots/REVISION.
std::string DefaultModelName(const std::filesystem::path& folder);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_H_
