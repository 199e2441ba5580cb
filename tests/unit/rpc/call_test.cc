// The record of a call.

#include "server/rpc/call.h"

#include <gtest/gtest.h>

#include <chrono>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace scalpel::rpc {
namespace {

// How a call of `timeout` ends if it is reset `after` its arrival.
absl::StatusCode Reset(absl::Duration timeout, absl::Duration after) {
  Call call;
  call.began = absl::FromUnixSeconds(1'000'000);
  call.deadline = call.began + timeout;
  return CancellationStatus(call, call.began + after).code();
}

TEST(Call, AResetFarFromTheDeadlineIsACancel) {
  EXPECT_EQ(Reset(absl::Seconds(2), absl::Seconds(0)), absl::StatusCode::kCancelled);
  EXPECT_EQ(Reset(absl::Seconds(2), absl::Milliseconds(1950)), absl::StatusCode::kCancelled);
  EXPECT_EQ(Reset(absl::Hours(1), absl::Minutes(59)), absl::StatusCode::kCancelled);
}

TEST(Call, AResetAfterTheDeadlineIsDueToIt) {
  EXPECT_EQ(Reset(absl::Seconds(2), absl::Seconds(2)), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Reset(absl::Seconds(2), absl::Hours(2)), absl::StatusCode::kDeadlineExceeded);
}

TEST(Call, TheClientsDeadlineComesALittleEarlier) {
  EXPECT_EQ(Reset(absl::Milliseconds(300), absl::Milliseconds(290)),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Reset(absl::Milliseconds(1), absl::ZeroDuration()),
            absl::StatusCode::kDeadlineExceeded);
  // A client's 100.1 seconds are sent as 101.
  EXPECT_EQ(Reset(absl::Seconds(101), absl::Milliseconds(100'100)),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(Call, WithoutADeadlineEachResetIsACancel) {
  Call call;
  call.began = absl::FromUnixSeconds(1'000'000);
  EXPECT_EQ(CancellationStatus(call, call.began + absl::Hours(24 * 365)).code(),
            absl::StatusCode::kCancelled);
  call.deadline = absl::FromChrono(std::chrono::system_clock::time_point::max());  // gRPC's "none"
  EXPECT_EQ(CancellationStatus(call, call.began + absl::Hours(24 * 365)).code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace scalpel::rpc
