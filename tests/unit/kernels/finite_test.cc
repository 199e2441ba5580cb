#include "server/kernels/finite.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

#include "server/kernels/threads.h"

namespace scalpel::kernels {
namespace {

TEST(AllFinite, FindsASingleInfinityOrNan) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const int threads : {1, 2}) {
    SetThreads(threads);
    for (const int64_t count : {1, 7, 64, 1000, 300'000}) {
      std::vector<float> x(count, -std::numeric_limits<float>::max());
      x[count / 2] = std::numeric_limits<float>::denorm_min();
      EXPECT_TRUE(AllFinite(x.data(), count));
      for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
        for (const int64_t at : {int64_t{0}, count / 2, count - 1}) {
          const float good = std::exchange(x[at], bad);
          EXPECT_FALSE(AllFinite(x.data(), count)) << count << " " << at;
          x[at] = good;
        }
      }
    }
  }
  SetThreads(1);
  EXPECT_TRUE(AllFinite(nullptr, 0));
}

}  // namespace
}  // namespace scalpel::kernels
