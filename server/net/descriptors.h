// The limit on open file descriptors, which connections share with files.

#ifndef SCALPEL_SERVER_NET_DESCRIPTORS_H_
#define SCALPEL_SERVER_NET_DESCRIPTORS_H_

#include <cstdint>

namespace scalpel::net {

// Raises the process's soft limit on descriptors to the hard limit, and returns how many
// connections may be open at once: `wanted` or, after logging a warning, as many as leave enough
// descriptors for everything else, but at least 1.
int32_t ConnectionsAllowed(int32_t wanted);

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_DESCRIPTORS_H_
