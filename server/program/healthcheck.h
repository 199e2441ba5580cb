// --healthcheck: asks a running server how it is, for those who watch over containers.

#ifndef SCALPEL_SERVER_PROGRAM_HEALTHCHECK_H_
#define SCALPEL_SERVER_PROGRAM_HEALTHCHECK_H_

#include <string>

namespace scalpel {

// Asks the server on this machine that listens on `listen`, HOST:PORT, and speaks TLS or not. 0: it
// says SERVING; 1: anything else, told in one line on standard error.
int RunHealthcheck(const std::string& listen, bool tls);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_HEALTHCHECK_H_
