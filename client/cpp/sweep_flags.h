// The flags that only the command `sweep` has: what is varied, and what is measured.

#ifndef SCALPEL_CLIENT_CPP_SWEEP_FLAGS_H_
#define SCALPEL_CLIENT_CPP_SWEEP_FLAGS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/flags.h"
#include "proto/scalpel/v1/sweep.pb.h"

namespace scalpel::client {

// Returns the flags, in the order of --help.
std::vector<Flag> SweepFlags();

// Parses an axis: `layers`, `heads=0,5`, `positions=-4:-1` or `values=0,0.1,1`. Errors as in
// ParseSpec.
absl::StatusOr<v1::GridAxis> AxisOf(absl::string_view text);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SWEEP_FLAGS_H_
