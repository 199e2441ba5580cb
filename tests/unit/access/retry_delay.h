// Reads what a refusal says about trying again.

#ifndef SCALPEL_TESTS_UNIT_ACCESS_RETRY_DELAY_H_
#define SCALPEL_TESTS_UNIT_ACCESS_RETRY_DELAY_H_

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/google/rpc/error_details.pb.h"
#include "tests/unit/support/detail.h"

namespace scalpel::access {

// The delay of the RetryInfo that a RESOURCE_EXHAUSTED has to carry; fails the test without one.
inline absl::Duration RetryDelay(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  const auto info = test::DetailOf<google::rpc::RetryInfo>(status);
  return absl::Seconds(info.retry_delay().seconds()) +
         absl::Nanoseconds(info.retry_delay().nanos());
}

}  // namespace scalpel::access

#endif  // SCALPEL_TESTS_UNIT_ACCESS_RETRY_DELAY_H_
