#include "server/access/quota.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/access/retry_delay.h"

namespace scalpel::access {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kSecond = absl::Seconds(1);
const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);

// A bucket of 1000 tokens.
constexpr QuotaLimits kHundredASecond{.calls_max = 0, .tokens_per_second_max = 100};
constexpr QuotaLimits kTwoCalls{.calls_max = 2, .tokens_per_second_max = 0};

class QuotaTest : public ::testing::Test {
 protected:
  Quota::Lease Enter(absl::string_view caller, const QuotaLimits& limits, absl::Time now = kStart) {
    absl::StatusOr<Quota::Lease> lease = quota_->Enter(caller, limits, now);
    EXPECT_TRUE(lease.ok()) << lease.status();
    return *std::move(lease);
  }
  absl::Status Refused(absl::string_view caller, const QuotaLimits& limits,
                       absl::Time now = kStart) {
    return quota_->Enter(caller, limits, now).status();
  }

  std::shared_ptr<Quota> quota_ = std::make_shared<Quota>();
};

TEST_F(QuotaTest, BoundsTheCallsAtOnceOfEachCaller) {
  std::optional<Quota::Lease> first = Enter("alice", kTwoCalls);
  const Quota::Lease second = Enter("alice", kTwoCalls);
  const absl::Status third = Refused("alice", kTwoCalls);
  EXPECT_EQ(RetryDelay(third), kSecond);
  EXPECT_THAT(std::string(third.message()), HasSubstr("2 calls of this caller are under way"));
  const Quota::Lease of_another = Enter("bob", kTwoCalls);
  first.reset();
  const Quota::Lease again = Enter("alice", kTwoCalls);
  EXPECT_FALSE(Refused("alice", kTwoCalls).ok());
}

TEST_F(QuotaTest, HasNoLimitWhereItIsZero) {
  std::vector<Quota::Lease> leases;
  for (int i = 0; i < 1000; ++i) leases.push_back(Enter("alice", {}));
  EXPECT_TRUE(leases[0].Charge(int64_t{1} << 60, kStart).ok());
  EXPECT_TRUE(leases[1].Charge(int64_t{1} << 60, kStart).ok());
}

TEST_F(QuotaTest, ALeaseThatIsMovedEndsOnce) {
  std::optional<Quota::Lease> outer = Enter("alice", kTwoCalls);
  {
    const Quota::Lease inner = *std::move(outer);
    outer.reset();  // nothing any more
    const Quota::Lease second = Enter("alice", kTwoCalls);
    EXPECT_FALSE(Refused("alice", kTwoCalls).ok());
  }
  Quota::Lease first = Enter("alice", kTwoCalls);
  Quota::Lease second = Enter("alice", kTwoCalls);
  first = std::move(second);  // ends the first call at once
  const Quota::Lease third = Enter("alice", kTwoCalls);
  EXPECT_FALSE(Refused("alice", kTwoCalls).ok());
}

TEST_F(QuotaTest, ALeaseKeepsTheQuotaAlive) {
  Quota::Lease lease = Enter("alice", kHundredASecond);
  quota_.reset();
  EXPECT_TRUE(lease.Charge(1, kStart).ok());
}

TEST_F(QuotaTest, SpendsUntilTheBucketIsEmpty) {
  Quota::Lease lease = Enter("alice", kHundredASecond);
  EXPECT_TRUE(lease.Charge(400, kStart).ok());
  EXPECT_TRUE(lease.Charge(599, kStart).ok());
  EXPECT_TRUE(lease.Charge(1, kStart).ok());
  const absl::Status empty = lease.Charge(1, kStart);
  EXPECT_EQ(RetryDelay(empty), absl::Milliseconds(10));
  EXPECT_THAT(std::string(empty.message()), HasSubstr("more than its 100 tokens a second"));
  EXPECT_THAT(std::string(empty.message()), HasSubstr("in 10ms"));
}

TEST_F(QuotaTest, GoesIntoDebtForALargeRequestAndWaitsItOut) {
  Quota::Lease lease = Enter("alice", kHundredASecond);
  EXPECT_TRUE(lease.Charge(5000, kStart).ok());  // owes 4000
  const absl::Duration delay = RetryDelay(lease.Charge(1, kStart));
  EXPECT_EQ(delay, absl::Milliseconds(40'010));
  EXPECT_EQ(RetryDelay(lease.Charge(1, kStart + 30 * kSecond)), absl::Milliseconds(10'010));
  EXPECT_FALSE(lease.Charge(1, kStart + 40 * kSecond).ok());
  EXPECT_TRUE(lease.Charge(1, kStart + delay).ok());
}

TEST_F(QuotaTest, ARefusalCostsNothing) {
  Quota::Lease lease = Enter("alice", kHundredASecond);
  EXPECT_TRUE(lease.Charge(1100, kStart).ok());
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(lease.Charge(1'000'000, kStart).ok());
  EXPECT_TRUE(lease.Charge(1, kStart + absl::Milliseconds(1010)).ok());
}

TEST_F(QuotaTest, ARefundRestoresWhatWasChargedAndNoMore) {
  Quota::Lease lease = Enter("alice", kHundredASecond);
  EXPECT_TRUE(lease.Charge(5000, kStart).ok());
  lease.Refund(5000, kStart);
  EXPECT_TRUE(lease.Charge(1000, kStart).ok());
  EXPECT_FALSE(lease.Charge(1, kStart).ok());
  lease.Refund(5000, kStart + kSecond);
  EXPECT_TRUE(lease.Charge(1000, kStart + kSecond).ok());
  EXPECT_FALSE(lease.Charge(1, kStart + kSecond).ok());
}

TEST_F(QuotaTest, TheBucketHoldsTenSeconds) {
  Quota::Lease lease = Enter("alice", kHundredASecond);
  const absl::Time later = kStart + absl::Hours(1);
  EXPECT_TRUE(lease.Charge(1000, later).ok());
  EXPECT_FALSE(lease.Charge(1, later).ok());
}

TEST_F(QuotaTest, ChargesNothingForNothing) {
  Quota::Lease lease = Enter("alice", kHundredASecond);
  EXPECT_TRUE(lease.Charge(2000, kStart).ok());
  EXPECT_TRUE(lease.Charge(0, kStart).ok());
}

TEST_F(QuotaTest, EachCallerHasOneBucketForAllItsCalls) {
  Quota::Lease one = Enter("alice", kHundredASecond), two = Enter("alice", kHundredASecond);
  Quota::Lease other = Enter("bob", kHundredASecond);
  EXPECT_TRUE(one.Charge(1000, kStart).ok());
  EXPECT_FALSE(two.Charge(1, kStart).ok());
  EXPECT_TRUE(other.Charge(1000, kStart).ok());
}

TEST_F(QuotaTest, ADebtOutlivesTheCallsThatMadeIt) {
  EXPECT_TRUE(Enter("alice", kHundredASecond).Charge(5000, kStart).ok());
  Quota::Lease lease = Enter("alice", kHundredASecond, kStart + kSecond);
  EXPECT_EQ(RetryDelay(lease.Charge(1, kStart + kSecond)), absl::Milliseconds(39'010));
}

TEST_F(QuotaTest, NewLimitsHoldFromTheNextCallOn) {
  Quota::Lease lease = Enter("alice", kHundredASecond);
  EXPECT_TRUE(lease.Charge(1000, kStart).ok());
  const Quota::Lease faster = Enter("alice", {.calls_max = 0, .tokens_per_second_max = 200});
  EXPECT_TRUE(lease.Charge(1000, kStart).ok());  // of a bucket of 2000
  EXPECT_FALSE(lease.Charge(1, kStart).ok());
  const Quota::Lease unlimited = Enter("alice", {});
  EXPECT_TRUE(lease.Charge(1'000'000, kStart).ok());
}

TEST_F(QuotaTest, ToleratesAClockThatIsSetBack) {
  Quota::Lease lease = Enter("alice", kHundredASecond);
  EXPECT_TRUE(lease.Charge(1000, kStart).ok());
  const absl::Time before = kStart - absl::Hours(1);
  EXPECT_EQ(RetryDelay(lease.Charge(1, before)), absl::Milliseconds(10));
  EXPECT_TRUE(lease.Charge(1, before + absl::Milliseconds(10)).ok());
}

TEST_F(QuotaTest, ForgetsIdleCallersWithoutDebt) {
  EXPECT_TRUE(Enter("alice", kHundredASecond).Charge(500, kStart).ok());
  EXPECT_TRUE(Enter("bob", kHundredASecond).Charge(1, kStart).ok());
  EXPECT_EQ(quota_->callers(), 2);
  (void)Enter("carol", {}, kStart + 4 * kSecond);  // alice has 100 to make good
  EXPECT_EQ(quota_->callers(), 3);
  (void)Enter("carol", {}, kStart + 6 * kSecond);
  EXPECT_EQ(quota_->callers(), 1);
}

TEST_F(QuotaTest, KeepsABoundedNumberOfCallers) {
  quota_ = std::make_shared<Quota>(3);
  for (const char* caller : {"a", "b", "c"}) {
    EXPECT_TRUE(Enter(caller, kHundredASecond).Charge(5000, kStart).ok());
  }
  (void)Enter("d", kHundredASecond);  // in the place of a
  EXPECT_EQ(quota_->callers(), 3);
  EXPECT_FALSE(Enter("b", kHundredASecond).Charge(1, kStart).ok());
  EXPECT_TRUE(Enter("a", kHundredASecond).Charge(1, kStart).ok());
  EXPECT_EQ(quota_->callers(), 3);
}

TEST_F(QuotaTest, NeverForgetsCallersWithCallsInProgress) {
  quota_ = std::make_shared<Quota>(2);
  const Quota::Lease a = Enter("a", kTwoCalls);
  std::optional<Quota::Lease> b = Enter("b", kTwoCalls);
  EXPECT_EQ(RetryDelay(Refused("c", kTwoCalls)), kSecond);
  const Quota::Lease second = Enter("a", kTwoCalls);  // who is known may come in
  b.reset();
  const Quota::Lease c = Enter("c", kTwoCalls);
  EXPECT_FALSE(Refused("b", kTwoCalls).ok());
}

TEST_F(QuotaTest, KeepsTenThousandCallersByDefault) {
  for (int i = 0; i < 10'005; ++i) {
    EXPECT_TRUE(Enter(absl::StrCat("caller", i), kHundredASecond).Charge(5000, kStart).ok());
  }
  EXPECT_EQ(quota_->callers(), 10'000);
}

TEST_F(QuotaTest, IsThreadSafe) {
  constexpr int kThreads = 8, kCalls = 500;  // calls of each
  constexpr QuotaLimits kLimits{.calls_max = 3, .tokens_per_second_max = 100};
  std::atomic<int> under_way = 0, most = 0, charged = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int calls = 0; calls < kCalls;) {
        absl::StatusOr<Quota::Lease> lease = quota_->Enter("alice", kLimits, kStart);
        if (!lease.ok()) continue;  // until there is a place
        ++calls;
        const int now = ++under_way;
        for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
        }
        if (lease->Charge(10, kStart).ok()) ++charged;
        --under_way;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 3);
  EXPECT_EQ(charged, 100);  // of 10 tokens each, and no time goes by
}

}  // namespace
}  // namespace scalpel::access
