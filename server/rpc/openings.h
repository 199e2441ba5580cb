// The openers of the streaming methods: they parse and compile the request, send the first event,
// and submit the work to the engine.

#ifndef SCALPEL_SERVER_RPC_OPENINGS_H_
#define SCALPEL_SERVER_RPC_OPENINGS_H_

#include "absl/status/status.h"
#include "server/rpc/response_stream.h"

namespace scalpel::rpc {

// Each returns INVALID_ARGUMENT or FAILED_PRECONDITION by field for a bad request,
// NOT_FOUND for another model's name, and RESOURCE_EXHAUSTED if the request exceeds a limit, if the
// caller exceeds its rate, or if the engine is full, which comes before what is wrong with the
// request; see spec::Compile, spec::CompileSweep,
// spec::CompileGeneration and engine::Scheduler::Submit.
absl::Status OpenRun(const Opening& opening);
absl::Status OpenSweep(const Opening& opening);
absl::Status OpenGenerate(const Opening& opening);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_OPENINGS_H_
