// The text that the server prints once it serves.

#ifndef SCALPEL_SERVER_PROGRAM_BANNER_H_
#define SCALPEL_SERVER_PROGRAM_BANNER_H_

#include <string>

#include "absl/time/time.h"
#include "server/config/config.h"
#include "server/rpc/backend.h"

namespace scalpel {

// Returns several lines: the model, where it runs, `listening on HOST:PORT`, and a grpcurl command
// that works as it is, except that placeholders stand for certificate files and a variable for the
// token if callers need them. `address`: the bound HOST:PORT.
std::string Banner(const rpc::Backend& backend, const Config& config, const std::string& address,
                   absl::Duration startup);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_BANNER_H_
