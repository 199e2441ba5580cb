// What Compile refuses, and under which field.

#ifndef SCALPEL_TESTS_UNIT_SPEC_REFUSAL_H_
#define SCALPEL_TESTS_UNIT_SPEC_REFUSAL_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/spec/plan.h"
#include "tests/unit/support/detail.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::spec {

using test::DetailOf;

struct Refusal {
  std::string request;  // beside two prompts of 4 and 3 tokens
  std::string field;
  std::string words;
};

// One violation, at the field, with these words in its description.
inline void ExpectRefused(const absl::Status& status, const Refusal& refusal,
                          absl::StatusCode code) {
  EXPECT_EQ(status.code(), code) << refusal.request << "\n" << status;
  const auto details = DetailOf<google::rpc::BadRequest>(status);
  ASSERT_EQ(details.field_violations_size(), 1) << refusal.request << "\n" << details.DebugString();
  EXPECT_EQ(details.field_violations(0).field(), refusal.field) << refusal.request;
  EXPECT_THAT(details.field_violations(0).description(), ::testing::HasSubstr(refusal.words))
      << refusal.request;
}

// Each of them, with INVALID_ARGUMENT.
inline void ExpectRefused(const std::vector<Refusal>& refusals, const Limits& limits = {}) {
  for (const Refusal& refusal : refusals) {
    ExpectRefused(Compile(test::RequestOf(refusal.request), test::TinyFacts(), limits).status(),
                  refusal, absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace scalpel::spec

#endif  // SCALPEL_TESTS_UNIT_SPEC_REFUSAL_H_
