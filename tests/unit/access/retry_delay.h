// Reads what a refusal says about trying again.

#ifndef SCALPEL_TESTS_UNIT_ACCESS_RETRY_DELAY_H_
#define SCALPEL_TESTS_UNIT_ACCESS_RETRY_DELAY_H_

#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "proto/google/rpc/error_details.pb.h"

namespace scalpel::access {

// The delay of the RetryInfo that a RESOURCE_EXHAUSTED has to carry; fails the test without one.
inline absl::Duration RetryDelay(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.RetryInfo");
  EXPECT_TRUE(payload.has_value()) << status;
  google::rpc::RetryInfo info;
  EXPECT_TRUE(payload.has_value() && info.ParseFromString(std::string(*payload)));
  return absl::Seconds(info.retry_delay().seconds()) +
         absl::Nanoseconds(info.retry_delay().nanos());
}

}  // namespace scalpel::access

#endif  // SCALPEL_TESTS_UNIT_ACCESS_RETRY_DELAY_H_
