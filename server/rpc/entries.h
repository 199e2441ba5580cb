// Counts the fields of a message before it is parsed: two bytes on the wire can become an object of
// a hundred bytes.

#ifndef SCALPEL_SERVER_RPC_ENTRIES_H_
#define SCALPEL_SERVER_RPC_ENTRIES_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include "absl/status/status.h"
#include "server/contract/limits.h"

namespace scalpel::rpc {

// INVALID_ARGUMENT for a message of `type` with too many prompts, interventions, probes,
// captures or metrics, with too many fields in all, or with a field whose number is reserved. Looks
// no further than at tags and lengths: OK says nothing about whether the message can be parsed.
absl::Status CheckEntries(google::protobuf::io::ZeroCopyInputStream* stream,
                          const google::protobuf::Descriptor& type, const Limits& limits);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_ENTRIES_H_
