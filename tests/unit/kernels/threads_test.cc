#include "server/kernels/threads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace scalpel::kernels {
namespace {

TEST(ParallelFor, CoversEveryIndexOnce) {
  for (const int threads : {1, 2, 5}) {
    SetThreads(threads);
    EXPECT_EQ(Threads(), threads);
    for (const int64_t count : {0, 1, 7, 1000}) {
      for (const int64_t piece : {0, 1, 3, 2000}) {
        std::vector<std::atomic<int>> done(count);
        ParallelFor(count, piece, [&](int64_t begin, int64_t end) {
          EXPECT_LT(begin, end);
          for (int64_t i = begin; i < end; ++i) ++done[i];
        });
        EXPECT_TRUE(std::all_of(done.begin(), done.end(), [](const auto& n) { return n == 1; }))
            << threads << " threads, " << count << " by " << piece;
      }
    }
  }
  SetThreads(1);
}

TEST(ParallelFor, WakesSleepingThreads) {
  SetThreads(3);
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int64_t> sum = 0;
    ParallelFor(100, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
    EXPECT_EQ(sum, 100);
  }
  SetThreads(1);
}

// Calls from within a piece and from several threads at once; some run on the caller's thread
// alone.
TEST(ParallelFor, MayBeNestedAndCalledByManyThreads) {
  SetThreads(3);
  std::atomic<int64_t> sum = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        ParallelFor(10, 1, [&](int64_t, int64_t) {
          ParallelFor(10, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  SetThreads(1);
  EXPECT_GE(sum, 4 * 50 * 10);  // if each outer call is one piece, the inner ones run once
  EXPECT_LE(sum, 4 * 50 * 10 * 10);
}

}  // namespace
}  // namespace scalpel::kernels
