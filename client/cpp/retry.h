// When a call is made again. The same as client/retry-policy.json and the Python client's `Retry`.

#ifndef SCALPEL_CLIENT_CPP_RETRY_H_
#define SCALPEL_CLIENT_CPP_RETRY_H_

#include <optional>

#include "absl/time/time.h"
#include "grpcpp/support/status.h"

namespace scalpel::client {

inline constexpr int kAttempts = 4;  // calls in all
inline constexpr double kFirstPauseSeconds = 0.2;
inline constexpr double kPauseFactor = 2;
inline constexpr double kLongestPauseSeconds = 10;

// How long to wait before the next attempt, when attempt `attempt` (from 1) has failed without an
// answer and `left` is left of the deadline; nothing: no further attempt. Only where no server
// answers, or where it says how long to wait, can another attempt succeed. gRPC's own retries see
// neither google.rpc.RetryInfo nor a call whose server has sent its headers.
std::optional<absl::Duration> PauseAfter(const grpc::Status& status, int attempt,
                                         absl::Duration left);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_RETRY_H_
