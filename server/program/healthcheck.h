// The --healthcheck command, for container health checks.

#ifndef SCALPEL_SERVER_PROGRAM_HEALTHCHECK_H_
#define SCALPEL_SERVER_PROGRAM_HEALTHCHECK_H_

#include <string>

namespace scalpel {

// Asks the server on this machine that listens on `listen` (HOST:PORT), with TLS if `tls`, for its
// health. Returns the exit status of the process: 0 if the server says SERVING, else 1, after
// printing one line to standard error.
int RunHealthcheck(const std::string& listen, bool tls);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_HEALTHCHECK_H_
