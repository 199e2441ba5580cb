// The google.rpc detail that a status carries.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_DETAIL_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_DETAIL_H_

#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"

namespace scalpel::test {

// Returns the payload of the type `Detail`, such as google::rpc::BadRequest; fails the test if the
// status has none.
template <typename Detail>
Detail DetailOf(const absl::Status& status) {
  Detail detail;
  const auto payload = status.GetPayload("type.googleapis.com/" + detail.GetTypeName());
  EXPECT_TRUE(payload.has_value()) << status;
  EXPECT_TRUE(payload && detail.ParseFromString(std::string(*payload)));
  return detail;
}

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_DETAIL_H_
