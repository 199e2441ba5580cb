// HOST:PORT, as --listen has it.

#ifndef SCALPEL_SERVER_BASE_ADDRESS_H_
#define SCALPEL_SERVER_BASE_ADDRESS_H_

#include <string>

namespace scalpel {

// Where a client on this machine reaches a server that listens on `address`: a host that stands for
// every address of the machine becomes its loopback address.
std::string Reachable(const std::string& address);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_ADDRESS_H_
