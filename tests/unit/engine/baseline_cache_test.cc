#include "server/engine/baseline_cache.h"

#include <gtest/gtest.h>

#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using model::CleanState;

constexpr int32_t kLayers = 2;

// Two heads of one dimension: 8 bytes of residual stream a token and boundary, as much of each of
// k, v and z a token and layer.
std::shared_ptr<const CleanState> MakeState(std::vector<int32_t> tokens, int32_t depth = kLayers) {
  auto state = std::make_shared<CleanState>();
  const int64_t length = static_cast<int64_t>(tokens.size());
  state->tokens = std::move(tokens);
  for (int32_t layer = 0; layer < depth; ++layer) {
    state->resid.push_back(at::full({length, 2}, layer, at::kFloat));
    state->k.push_back(at::rand({length, 2, 1}));
    state->v.push_back(at::rand({length, 2, 1}));
    state->z.push_back(at::rand({length, 2}));
  }
  state->resid.push_back(at::full({length, 2}, depth, at::kFloat));
  return state;
}

constexpr int64_t kBytesPerToken = 8 * (3 + 3 * kLayers);

TEST(BaselineCache, FindsTheWholePromptOrItsLongestPrefix) {
  BaselineCache cache(1 << 20, kLayers);
  cache.Add("", MakeState({1, 2, 3, 4}));
  cache.Add("", MakeState({1, 2, 9}));
  EXPECT_EQ(cache.Find("", {1, 2, 3, 4})->length(), 4);
  EXPECT_EQ(cache.Find("", {1, 2, 3, 7, 7})->length(), 3);
  EXPECT_EQ(cache.Find("", {1, 2, 9, 9})->length(), 3);
  EXPECT_EQ(cache.Find("", {1, 2})->length(), 2);  // whole, though of a longer prompt
  EXPECT_EQ(cache.Find("", {2, 1}), nullptr);
  EXPECT_EQ(cache.counts().hits, 2);
  EXPECT_EQ(cache.counts().prefix_hits, 2);
  EXPECT_EQ(cache.counts().misses, 1);
}

TEST(BaselineCache, APrefixIsAViewOfTheTensors) {
  BaselineCache cache(1 << 20, kLayers);
  const auto state = MakeState({1, 2, 3, 4});
  cache.Add("", state);
  const auto part = cache.Find("", {1, 2, 3});
  EXPECT_TRUE(test::SameBits(part->k[1], state->k[1].narrow(0, 0, 3)));
  EXPECT_TRUE(test::SameBits(part->z[0], state->z[0].narrow(0, 0, 3)));
  EXPECT_TRUE(test::SameBits(part->resid[2], state->resid[2].narrow(0, 0, 3)));
  EXPECT_EQ(part->depth(), kLayers);
}

TEST(BaselineCache, APrefixOfAnotherPromptNeedsEveryLayer) {
  BaselineCache cache(1 << 20, kLayers);
  cache.Add("", MakeState({1, 2, 3}, /*depth=*/1));
  EXPECT_EQ(cache.Find("", {1, 2, 3})->depth(), 1);
  EXPECT_EQ(cache.Find("", {1, 2, 3, 4}), nullptr);
}

TEST(BaselineCache, ADeeperStateReplacesAShallowerOneOnly) {
  BaselineCache cache(1 << 20, kLayers);
  cache.Add("", MakeState({1, 2}, 1));
  cache.Add("", MakeState({1, 2}, 2));
  cache.Add("", MakeState({1, 2}, 1));
  EXPECT_EQ(cache.Find("", {1, 2})->depth(), 2);
  EXPECT_EQ(cache.counts().entries, 1);
  EXPECT_EQ(cache.counts().bytes, 2 * kBytesPerToken);
}

TEST(BaselineCache, EvictsTheLeastRecentlyUsed) {
  BaselineCache cache(6 * kBytesPerToken, kLayers);
  cache.Add("", MakeState({1, 1}));
  cache.Add("", MakeState({2, 2}));
  cache.Add("", MakeState({3, 3}));
  EXPECT_NE(cache.Find("", {1, 1}), nullptr);
  cache.Add("", MakeState({4, 4}));  // 2 2 goes
  EXPECT_EQ(cache.Find("", {2, 2}), nullptr);
  EXPECT_NE(cache.Find("", {1, 1}), nullptr);
  EXPECT_EQ(cache.counts().bytes, 6 * kBytesPerToken);
  cache.Add("", MakeState({5, 5, 5, 5, 5, 5, 5}));  // more than it holds
  EXPECT_EQ(cache.Find("", {5, 5, 5, 5, 5, 5, 5}), nullptr);
  EXPECT_EQ(cache.counts().entries, 3);
}

TEST(BaselineCache, AScopeFindsNothingOfAnother) {
  BaselineCache cache(1 << 20, kLayers);
  cache.Add("ann", MakeState({1, 2, 3}));
  EXPECT_EQ(cache.Find("bob", {1, 2, 3}), nullptr);
  EXPECT_EQ(cache.Find("bob", {1, 2, 3, 4}), nullptr);
  EXPECT_EQ(cache.Find("", {1}), nullptr);
  EXPECT_EQ(cache.counts().misses, 3);
  const auto of_bob = MakeState({1, 2, 3});
  cache.Add("bob", of_bob);
  EXPECT_EQ(cache.Find("bob", {1, 2, 3}), of_bob);
  EXPECT_NE(cache.Find("ann", {1, 2, 3}), of_bob);
  EXPECT_EQ(cache.counts().entries, 2);
  EXPECT_EQ(cache.counts().bytes, 6 * kBytesPerToken);
}

// Room is made where the most is held: of three scopes, one that holds a third loses nothing.
TEST(BaselineCache, AFloodOfOneScopeLeavesTheOthersTheirShares) {
  BaselineCache cache(12 * kBytesPerToken, kLayers);
  for (int32_t i = 0; i < 12; ++i) cache.Add("flood", MakeState({i}));
  EXPECT_EQ(cache.counts().entries, 12) << "a single scope may have it all";
  for (int32_t i = 0; i < 4; ++i) cache.Add("ann", MakeState({i}));
  for (int32_t i = 0; i < 4; ++i) cache.Add("bob", MakeState({i}));
  for (int32_t i = 100; i < 200; ++i) cache.Add("flood", MakeState({i}));
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_NE(cache.Find("ann", {i}), nullptr) << i;
    EXPECT_NE(cache.Find("bob", {i}), nullptr) << i;
    EXPECT_NE(cache.Find("flood", {196 + i}), nullptr) << i;
  }
  EXPECT_EQ(cache.counts().entries, 12);
  EXPECT_EQ(cache.counts().bytes, 12 * kBytesPerToken);
}

TEST(BaselineCache, AStateThatIsMoreThanAShareIsNotKeptAndDisplacesNothing) {
  BaselineCache cache(6 * kBytesPerToken, kLayers);
  cache.Add("ann", MakeState({1, 1, 1}));
  cache.Add("bob", MakeState({2}));
  cache.Add("bob", MakeState({3, 3, 3, 3}));
  EXPECT_EQ(cache.Find("bob", {3, 3, 3, 3}), nullptr);
  EXPECT_NE(cache.Find("ann", {1, 1, 1}), nullptr);
  EXPECT_NE(cache.Find("bob", {2}), nullptr);
  cache.Add("bob", MakeState({4, 4, 4}));
  EXPECT_NE(cache.Find("bob", {4, 4, 4}), nullptr) << "as much as its share";
  EXPECT_NE(cache.Find("ann", {1, 1, 1}), nullptr);
  EXPECT_EQ(cache.Find("bob", {2}), nullptr);
}

TEST(BaselineCache, WithoutBytesIsOff) {
  BaselineCache cache(0, kLayers);
  EXPECT_FALSE(cache.enabled());
  EXPECT_EQ(cache.Find("", {1}), nullptr);
}

}  // namespace
}  // namespace scalpel::engine
