#include "server/model/key_cache.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tests/unit/support/tiny.h"

namespace scalpel::model {
namespace {

at::Tensor Values(int64_t positions, float from) {
  return at::arange(positions * 12, at::kFloat).view({positions, 3, 4}) + from;
}

TEST(KeyCache, ShowsWhatWasPut) {
  KeyCache cache(test::TinyConfig(), 6);
  for (int32_t layer = 0; layer < 3; ++layer) {
    cache.Put(layer, 0, Values(4, layer), Values(4, 100 + layer));
    cache.Put(layer, 4, Values(1, 50), Values(1, 60));
  }
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5};
  const auto beginning = cache.Beginning(tokens);
  EXPECT_EQ(beginning->tokens, tokens);
  EXPECT_EQ(beginning->depth(), 3);
  EXPECT_TRUE(beginning->k[2].narrow(0, 0, 4).equal(Values(4, 2)));
  EXPECT_TRUE(beginning->v[1].narrow(0, 0, 4).equal(Values(4, 101)));
  EXPECT_TRUE(beginning->k[0].narrow(0, 4, 1).equal(Values(1, 50)));
}

TEST(KeyCache, CopiesDoNotMeet) {
  KeyCache one(test::TinyConfig(), 4), two(test::TinyConfig(), 4);
  for (int32_t layer = 0; layer < 3; ++layer) one.Put(layer, 0, Values(2, 1), Values(2, 2));
  two.PutAll(one, 2);
  one.Put(0, 0, Values(2, 9), Values(2, 9));
  const std::vector<int32_t> tokens = {1, 2};
  EXPECT_TRUE(two.Beginning(tokens)->k[0].equal(Values(2, 1)));
}

TEST(KeyCache, TakesWhatACleanRunKnows) {
  CleanState clean;
  clean.tokens = {1, 2, 3};
  clean.k = {Values(3, 1), Values(3, 2)};  // of two layers
  clean.v = {Values(3, 3), Values(3, 4)};
  KeyCache cache(test::TinyConfig(), 5);
  cache.PutClean(clean, 2);
  cache.Put(2, 0, Values(2, 7), Values(2, 8));
  const std::vector<int32_t> tokens = {1, 2};
  EXPECT_TRUE(cache.Beginning(tokens)->k[1].equal(Values(2, 2)));
  EXPECT_TRUE(cache.Beginning(tokens)->v[2].equal(Values(2, 8)));
}

TEST(KeyCache, BytesAreThoseOfBothTensorsInAllLayers) {
  EXPECT_EQ(KeyCache::Bytes(test::TinyConfig(), 5), 2 * 3 * 5 * 12 * 4);
}

}  // namespace
}  // namespace scalpel::model
