// What the server prints once it serves.

#ifndef SCALPEL_SERVER_PROGRAM_BANNER_H_
#define SCALPEL_SERVER_PROGRAM_BANNER_H_

#include <string>

#include "absl/time/time.h"
#include "server/config/config.h"
#include "server/rpc/backend.h"

namespace scalpel {

// Several lines: the model, where it runs, `listening on HOST:PORT`, and a grpcurl command that
// works as it stands; where callers must show who they are, with the files and the variable that
// they have for it.
std::string Banner(const rpc::Backend& backend, const Config& config, const std::string& address,
                   absl::Duration startup);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_BANNER_H_
