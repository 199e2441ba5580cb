// What a failed call says, and the exit code it becomes.

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

ExitCode ExitCodeOf(const grpc::Status& status);

// Code and message, then each wrong field, exceeded limit and the time to wait, and a remedy.
// `options`: how the server was called.
void PrintError(std::ostream& err, const grpc::Status& status, const Options& options);

// `INVALID_ARGUMENT`.
std::string CodeName(grpc::StatusCode code);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_ERRORS_H_
