// Which calls share cached clean runs, and who is told the counts of the cache.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/rpc/calls_fixture.h"

namespace scalpel::rpc {
namespace {

using testing::ElementsAre;

class CacheScopeTest : public CallsTest {
 protected:
  void StartWith(v1::CacheScope scope, access::Policy policy) {
    cache_scope_ = scope;
    cache_counts_ = {.hits = 1, .prefix_hits = 2, .misses = 3, .bytes = 4, .entries = 5};
    submit_ = [this](auto job) {
      scopes_.push_back(job->stream().cache_scope());
      job->stream().Close(absl::OkStatus());
      return absl::OkStatus();
    };
    Start(std::move(policy));
  }

  v1::BaselineCache Told(const char* token) {
    grpc::ClientContext context;
    Show(token, &context);
    v1::GetModelResponse model;
    const grpc::Status end = stub_->GetModel(&context, {}, &model);
    EXPECT_TRUE(end.ok()) << end.error_message();
    return model.baseline_cache();
  }

  std::vector<std::string> scopes_;  // of the calls that reached the engine
};

constexpr char kAllCounts[] = "4 bytes, 5 entries, 1 2 3";

std::string CountsIn(const v1::BaselineCache& cache) {
  return absl::StrCat(cache.bytes(), " bytes, ", cache.entries(), " entries, ", cache.hits(), " ",
                      cache.prefix_hits(), " ", cache.misses());
}

TEST_F(CacheScopeTest, SharedIsOneScope) {
  StartWith(v1::CACHE_SCOPE_SHARED, WithTokens());
  EXPECT_TRUE(Run(Tokens(1), kRunner).ok());
  EXPECT_TRUE(Run(Tokens(1), kOperator).ok());
  EXPECT_THAT(scopes_, ElementsAre("", ""));
  EXPECT_EQ(Told(kReader).scope(), v1::CACHE_SCOPE_SHARED);
  EXPECT_EQ(CountsIn(Told(kReader)), kAllCounts);
  EXPECT_EQ(CountsIn(GetStatus(kOperator).baseline_cache()), kAllCounts);
}

TEST_F(CacheScopeTest, EachCallerHasItsOwn) {
  StartWith(v1::CACHE_SCOPE_CALLER, WithTokens());
  EXPECT_TRUE(Run(Tokens(1), kRunner).ok());
  EXPECT_TRUE(Run(Tokens(1), kOperator).ok());
  EXPECT_THAT(scopes_, ElementsAre("ron", "olga"));
}

TEST_F(CacheScopeTest, AnonymousCallersAreOne) {
  StartWith(v1::CACHE_SCOPE_CALLER, access::Policy());
  EXPECT_TRUE(Run(Tokens(1)).ok());
  EXPECT_TRUE(Run(Tokens(1)).ok());
  EXPECT_THAT(scopes_, ElementsAre("anonymous", "anonymous"));
}

// GetModel's answer would move with what others run, whatever the role of who asks.
TEST_F(CacheScopeTest, OnlyGetStatusTellsTheCountsOfAll) {
  StartWith(v1::CACHE_SCOPE_CALLER, WithTokens());
  for (const char* token : {kReader, kOperator}) {
    EXPECT_EQ(Told(token).scope(), v1::CACHE_SCOPE_CALLER);
    EXPECT_GT(Told(token).max_bytes(), 0);
    EXPECT_EQ(CountsIn(Told(token)), "0 bytes, 0 entries, 0 0 0");
  }
  const v1::BaselineCache seen = GetStatus(kOperator).baseline_cache();
  EXPECT_EQ(seen.scope(), v1::CACHE_SCOPE_CALLER);
  EXPECT_EQ(CountsIn(seen), kAllCounts);
}

}  // namespace
}  // namespace scalpel::rpc
