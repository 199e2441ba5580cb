// Reads a request from a JSON file, and merges the flags into it.

#ifndef SCALPEL_CLIENT_CPP_REQUEST_FILE_H_
#define SCALPEL_CLIENT_CPP_REQUEST_FILE_H_

#include <istream>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/options.h"

namespace scalpel::client {

// Returns the request of `run`: the file's (`-` reads `in`), with the flags' merged into it.
// Repeated fields are appended; single fields, the form and positions of the logits, and the layers
// of block outputs are replaced. INVALID_ARGUMENT: the file cannot be read or is not such a
// request.
absl::StatusOr<v1::RunRequest> RequestOf(const Options& options, std::istream& in);

// Returns the request of `sweep`, merged in the same way. Interventions and axes from flags are
// added to the file's grid. A patch without a source reads the first of `sources`, and if nothing
// is to be measured, kl_from_clean is.
absl::StatusOr<v1::SweepRequest> SweepRequestOf(const Options& options, std::istream& in);

// Returns the request of `generate`, merged in the same way.
absl::StatusOr<v1::GenerateRequest> GenerateRequestOf(const Options& options, std::istream& in);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_REQUEST_FILE_H_
