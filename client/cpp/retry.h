// When a call is repeated. client/retry-policy.json and the Python client's `Retry` have the same
// policy.

#ifndef SCALPEL_CLIENT_CPP_RETRY_H_
#define SCALPEL_CLIENT_CPP_RETRY_H_

#include <optional>

#include "absl/time/time.h"
#include "grpcpp/support/status.h"

namespace scalpel::client {

inline constexpr int kAttempts = 4;  // including the first
inline constexpr double kFirstPauseSeconds = 0.2;
inline constexpr double kPauseFactor = 2;
inline constexpr double kLongestPauseSeconds = 10;

// Returns how long to wait before the next attempt, or nullopt if there must be none. `status`: how
// attempt number `attempt`, counted from 1, failed before any response arrived. `left`: the time
// left until the deadline.
//
// A call is repeated only if no server was reached (UNAVAILABLE), or if the server says how long to
// wait (google.rpc.RetryInfo). gRPC's own retries do not read RetryInfo, and do not repeat a call
// for which the server has sent headers.
std::optional<absl::Duration> PauseAfter(const grpc::Status& status, int attempt,
                                         absl::Duration left);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_RETRY_H_
