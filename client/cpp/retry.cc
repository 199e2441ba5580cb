#include "client/cpp/retry.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "proto/google/rpc/error_details.pb.h"
#include "proto/google/rpc/status.pb.h"

namespace scalpel::client {
namespace {

// Returns the delay in the server's RetryInfo; nullopt if there is none.
std::optional<absl::Duration> DelayAsked(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return std::nullopt;
  for (const auto& detail : details.details()) {
    google::rpc::RetryInfo info;
    if (!detail.UnpackTo(&info)) continue;
    return absl::Seconds(info.retry_delay().seconds()) +
           absl::Nanoseconds(info.retry_delay().nanos());
  }
  return std::nullopt;
}

}  // namespace

std::optional<absl::Duration> PauseAfter(const grpc::Status& status, int attempt,
                                         absl::Duration left) {
  if (attempt >= kAttempts) return std::nullopt;
  absl::Duration asked = absl::ZeroDuration();
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
    const std::optional<absl::Duration> delay = DelayAsked(status);
    if (!delay) return std::nullopt;
    asked = *delay;
  } else if (status.error_code() != grpc::StatusCode::UNAVAILABLE) {
    return std::nullopt;
  }
  const double pause =
      std::min(kFirstPauseSeconds * std::pow(kPauseFactor, attempt - 1), kLongestPauseSeconds);
  // Random, so that clients that failed together do not retry together.
  thread_local std::mt19937 generator{std::random_device{}()};
  const double part = std::uniform_real_distribution<double>(0.5, 1)(generator);
  const absl::Duration wait = std::max(absl::Seconds(pause * part), asked);
  return wait < left ? std::optional(wait) : std::nullopt;
}

}  // namespace scalpel::client
