// How each streaming method begins: its request read and compiled, its first event sent, and its
// work given to the engine.

#ifndef SCALPEL_SERVER_RPC_OPENINGS_H_
#define SCALPEL_SERVER_RPC_OPENINGS_H_

#include "absl/status/status.h"
#include "server/rpc/response_stream.h"

namespace scalpel::rpc {

absl::Status OpenRun(const Opening& opening);
absl::Status OpenSweep(const Opening& opening);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_OPENINGS_H_
