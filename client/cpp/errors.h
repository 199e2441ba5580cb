// How failed calls are reported.

#ifndef SCALPEL_CLIENT_CPP_ERRORS_H_
#define SCALPEL_CLIENT_CPP_ERRORS_H_

#include <ostream>
#include <string>

#include "client/cpp/options.h"
#include "grpcpp/support/status.h"

namespace scalpel::client {

// The exit codes that --help documents.
enum ExitCode {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kNoServer = 3,
  kDeadline = 4,
  kInterrupted = 130,
};

// Returns the exit code for the status of a call.
ExitCode ExitCodeOf(const grpc::Status& status);

// Prints the code and message, the google.rpc details (invalid fields, exceeded limits, the time to
// wait, the request id), and a remedy that fits the `options` of the call.
void PrintError(std::ostream& err, const grpc::Status& status, const Options& options);

// Returns the name of a code, such as `INVALID_ARGUMENT`.
std::string CodeName(grpc::StatusCode code);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_ERRORS_H_
