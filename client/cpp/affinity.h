// Which calls belong together, for a proxy before several servers.

#ifndef SCALPEL_CLIENT_CPP_AFFINITY_H_
#define SCALPEL_CLIENT_CPP_AFFINITY_H_

#include <string>

#include "google/protobuf/repeated_ptr_field.h"
#include "proto/scalpel/v1/spec.pb.h"

namespace scalpel::client {

// Goes with a call as metadata.
inline constexpr char kAffinityKey[] = "x-scalpel-affinity";

// The same for all calls whose first prompt is the same, so that a proxy that hashes it leads them
// to the server that knows the prompt. A hash of it, because proxies log what goes with a call.
// Empty where there are no prompts.
std::string Affinity(const google::protobuf::RepeatedPtrField<v1::Prompt>& prompts);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_AFFINITY_H_
