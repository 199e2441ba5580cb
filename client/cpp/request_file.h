// A request as JSON, and what flags add to it.

#ifndef SCALPEL_CLIENT_CPP_REQUEST_FILE_H_
#define SCALPEL_CLIENT_CPP_REQUEST_FILE_H_

#include <istream>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/options.h"

namespace scalpel::client {

// The request of `run`: the file's (`-` reads `in`) with that of the flags merged into it. Lists
// grow; single fields, the form of the logits, their positions and the block outputs' layers are
// replaced.
absl::StatusOr<v1::RunRequest> RequestOf(const Options& options, std::istream& in);

// The same of `sweep`. Interventions and axes of the flags join the file's grid; a patch without a
// source reads the first of `sources`; without anything to measure it is kl_from_clean.
absl::StatusOr<v1::SweepRequest> SweepRequestOf(const Options& options, std::istream& in);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_REQUEST_FILE_H_
