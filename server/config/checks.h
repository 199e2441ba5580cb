// Checks that concern several settings at once.

#ifndef SCALPEL_SERVER_CONFIG_CHECKS_H_
#define SCALPEL_SERVER_CONFIG_CHECKS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/config/config.h"

namespace scalpel {

// Checks a complete configuration: the model folder is given, limits fit together, TLS files are
// given together, and the server is not reachable from other machines without TLS and
// authentication, unless that is allowed. Returns INVALID_ARGUMENT with one line that names a
// setting as it was given, and the remedy.
absl::Status CheckConfig(const Config& config);

// Returns whether an address, HOST:PORT, can be reached only from this machine: its host is
// localhost or in 127.0.0.0/8 or [::1].
bool IsLoopback(absl::string_view address);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_CHECKS_H_
