// The flags that only the command `generate` has: how a token is chosen, and where a text ends.

#ifndef SCALPEL_CLIENT_CPP_GENERATE_FLAGS_H_
#define SCALPEL_CLIENT_CPP_GENERATE_FLAGS_H_

#include <vector>

#include "client/cpp/flags.h"

namespace scalpel::client {

// Returns the flags, in the order of --help.
std::vector<Flag> GenerateFlags();

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_GENERATE_FLAGS_H_
