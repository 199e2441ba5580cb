// The access log: one line for each call, when it has ended.

#ifndef SCALPEL_SERVER_RPC_ACCESS_LOG_H_
#define SCALPEL_SERVER_RPC_ACCESS_LOG_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/errors.h"
#include "server/rpc/call.h"

namespace scalpel::rpc {

// If a logger of this name is registered with spdlog, lines go there as JSON objects; else to the
// default one, as `key=value`.
inline constexpr char kAccessLogger[] = "access";

// No line holds anything that the caller wrote, beyond a request id and the ids of its trace: no
// prompts. `reason`: why the call was refused; nullopt: it was not.
void LogCall(const Call& call, absl::string_view code, std::optional<Reason> reason,
             absl::Duration total);
// Logs the call as slow, as a warning.
void LogSlowCall(const Call& call, absl::string_view code, std::optional<Reason> reason,
                 absl::Duration total);

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_ACCESS_LOG_H_
