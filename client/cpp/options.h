// What a command line says.

#ifndef SCALPEL_CLIENT_CPP_OPTIONS_H_
#define SCALPEL_CLIENT_CPP_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/security.h"
#include "proto/scalpel/v1/service.pb.h"

namespace scalpel::client {

// A command line, read. Where flags of `run` say something of the request, it is in `request`; what
// only `sweep` has is in `sweep`.
struct Options {
  // `run`, `sweep`, `model`, `tokenize`, `detokenize`, `health`, `status` or `top`
  std::string command;
  bool help = false;
  std::string server = "127.0.0.1:50051";
  Security security;
  std::string request_id;
  double deadline_seconds = 600;
  std::string model;
  bool json = false;

  std::string file;                        // run, sweep: a request in JSON, `-` for standard input
  v1::RunRequest request;                  // run, sweep: what the flags say; added to the file's
  v1::SweepRequest sweep;                  // sweep: the same
  std::optional<int64_t> metric_position;  // sweep
  std::string save_folder;                 // run
  int32_t refreshes = 0;                   // top; 0: until it is interrupted
  std::vector<std::string> arguments;      // of the other commands
};

// Reads the arguments behind the program's name. `server` is the default address.
absl::StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments,
                                     const std::string& server);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_OPTIONS_H_
