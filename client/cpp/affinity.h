// Tells a proxy in front of several servers which calls should reach the same server.

#ifndef SCALPEL_CLIENT_CPP_AFFINITY_H_
#define SCALPEL_CLIENT_CPP_AFFINITY_H_

#include <string>

#include "google/protobuf/repeated_ptr_field.h"
#include "proto/scalpel/v1/prompt.pb.h"

namespace scalpel::client {

// The metadata key that carries the affinity.
inline constexpr char kAffinityKey[] = "x-scalpel-affinity";

// Returns a hash of the first prompt; empty if there are no prompts. A proxy that balances by it
// sends calls with the same first prompt to the server that has cached that prompt. It is a hash
// because proxies log metadata. Thread-safe.
std::string Affinity(const google::protobuf::RepeatedPtrField<v1::Prompt>& prompts);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_AFFINITY_H_
