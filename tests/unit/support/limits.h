// Limits for a test.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_LIMITS_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_LIMITS_H_

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>

#include "server/contract/limits.h"

namespace scalpel::test {

// The defaults, but for what `text` says: `max_prompts: 1`.
inline Limits LimitsOf(const std::string& text) {
  Limits limits;
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(text, &*limits)) << text;
  return limits;
}

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_LIMITS_H_
