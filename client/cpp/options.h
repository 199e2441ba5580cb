// Parses the command line.

#ifndef SCALPEL_CLIENT_CPP_OPTIONS_H_
#define SCALPEL_CLIENT_CPP_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/security.h"
#include "proto/scalpel/v1/generate.pb.h"
#include "proto/scalpel/v1/run.pb.h"
#include "proto/scalpel/v1/sweep.pb.h"

namespace scalpel::client {

// A parsed command line. Flags that `run` has set fields of `request`; flags that only `sweep` or
// `generate` has set fields of `sweep` or `generate`.
struct Options {
  // `run`, `sweep`, `generate`, `model`, `tokenize`, `detokenize`, `health`, `status` or `top`
  std::string command;
  bool help = false;
  std::string server = "127.0.0.1:50051";
  Security security;
  std::string request_id;
  double deadline_seconds = 600;
  std::string model;
  bool json = false;

  // run, sweep, generate: a request as JSON; `-`: standard input
  std::string file;
  v1::RunRequest request;        // of these commands, from the flags; merged into the file's
  v1::SweepRequest sweep;        // sweep: from the flags; merged into the file's
  v1::GenerateRequest generate;  // generate: from the flags; merged into the file's
  std::optional<int64_t> metric_position;  // sweep
  std::string save_folder;                 // run
  int32_t refreshes = 0;                   // top: how often; 0: until interrupted
  std::vector<std::string> arguments;      // positional, of the other commands
};

// Parses the arguments after the program's name. `server`: the default address; may be empty.
// Returns INVALID_ARGUMENT with one line that names the flag or argument at fault, and the remedy.
absl::StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments,
                                     const std::string& server);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_OPTIONS_H_
