// The access log: one line per call, written when the call has ended. All functions are
// thread-safe.

#ifndef SCALPEL_SERVER_RPC_ACCESS_LOG_H_
#define SCALPEL_SERVER_RPC_ACCESS_LOG_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/errors.h"
#include "server/rpc/call.h"

namespace scalpel::rpc {

// If a logger of this name is registered with spdlog, each line is written to it as a JSON object.
// Otherwise the default logger gets a line of `key=value` pairs.
inline constexpr char kAccessLogger[] = "access";

// Logs a call at level info. `code`: the name of its status code, such as `OK`. `reason`: why it
// was refused; nullopt if it was not. `total`: how long it took. Of what the caller sent, a line
// holds only the request id and the trace's ids, never a prompt.
void LogCall(const Call& call, absl::string_view code, std::optional<Reason> reason,
             absl::Duration total);
// Logs a slow call at level warning, with the fields of LogCall.
void LogSlowCall(const Call& call, absl::string_view code, std::optional<Reason> reason,
                 absl::Duration total);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_ACCESS_LOG_H_
