// How many files and sockets this process may have open, which connections share with all else.

#ifndef SCALPEL_SERVER_NET_DESCRIPTORS_H_
#define SCALPEL_SERVER_NET_DESCRIPTORS_H_

#include <cstdint>

namespace scalpel::net {

// Raises the limit as far as the system allows, and returns how many connections may be open at
// once: `wanted`, or fewer where they would not leave enough descriptors for all else; then it
// warns.
int32_t ConnectionsAllowed(int32_t wanted);

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_DESCRIPTORS_H_
