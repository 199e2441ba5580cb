// Addresses of the form HOST:PORT, as --listen takes them.

#ifndef SCALPEL_SERVER_BASE_ADDRESS_H_
#define SCALPEL_SERVER_BASE_ADDRESS_H_

#include <string>

namespace scalpel {

// Returns the address at which a client on this machine reaches a server that listens on `address`
// (HOST:PORT): a wildcard host, 0.0.0.0 or [::], becomes the loopback address of its family.
std::string Reachable(const std::string& address);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_ADDRESS_H_
