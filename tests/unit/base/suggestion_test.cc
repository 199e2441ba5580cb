#include "server/base/suggestion.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace scalpel {
namespace {

const std::vector<absl::string_view> kKnown = {"model", "max-queue", "max-tokens", "threads"};

TEST(Suggestion, IsTheNearestName) {
  EXPECT_EQ(Suggestion("modle", kKnown), "model");
  EXPECT_EQ(Suggestion("max_queue", kKnown), "max-queue");
  EXPECT_EQ(Suggestion("maxtoken", kKnown), "max-tokens");
  EXPECT_EQ(Suggestion("thread", kKnown), "threads");
}

TEST(Suggestion, IsEmptyIfNoNameIsSimilar) {
  EXPECT_EQ(Suggestion("", kKnown), "");
  EXPECT_EQ(Suggestion("-h", kKnown), "");
  EXPECT_EQ(Suggestion("colour", kKnown), "");
  EXPECT_EQ(Suggestion(std::string(1 << 20, 'x'), kKnown), "");
  EXPECT_EQ(Suggestion("model", {}), "");
}

}  // namespace
}  // namespace scalpel
