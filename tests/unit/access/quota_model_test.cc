// The quotas against a ledger that counts in whole numbers.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/access/quota.h"
#include "tests/unit/access/retry_delay.h"
#include "tests/unit/support/model_steps.h"

namespace scalpel::access {
namespace {

using test::Wrong;

constexpr size_t kCallersMax = 4;
constexpr int kCallers = 6;
// Time goes in ticks, a power of two to the second, so that the quota's floating point has nothing
// to round.
constexpr int64_t kTicksPerSecond = 1024;
constexpr int64_t kBurstSeconds = 10;
const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);

enum class Kind { kEnter, kLeave, kCharge, kRefund, kWait };

struct Step {
  Kind kind;
  int64_t of = 0;      // the caller who enters, or the call in progress, modulo their number
  int64_t amount = 0;  // tokens, or ticks
  QuotaLimits limits = {};
};

Step MakeStep(test::Random& random) {
  constexpr int64_t kRates[] = {0, 1, 16, 100};
  Step step;
  step.kind = static_cast<Kind>(test::Below(random, 5));
  step.of = static_cast<int64_t>(test::Below(random, 1000));
  step.amount = static_cast<int64_t>(test::Below(random, 400));
  if (test::Chance(random, 0.1)) step.amount *= 20;
  if (step.kind == Kind::kWait) step.amount *= test::Chance(random, 0.05) ? -1 : 4;
  step.limits = {.calls_max = static_cast<int32_t>(test::Below(random, 4)),
                 .tokens_per_second_max = kRates[test::Below(random, std::size(kRates))]};
  return step;
}

std::string TextOf(const Step& step) {
  switch (step.kind) {
    case Kind::kEnter:
      return absl::StrCat("caller ", step.of % kCallers, " enters: ", step.limits.calls_max,
                          " calls, ", step.limits.tokens_per_second_max, " tokens/s");
    case Kind::kLeave:
      return absl::StrCat("call ", step.of, " ends");
    case Kind::kCharge:
      return absl::StrCat("call ", step.of, " is charged ", step.amount);
    case Kind::kRefund:
      return absl::StrCat("call ", step.of, " is given back ", step.amount);
    case Kind::kWait:
      return absl::StrCat(step.amount, " ticks pass");
  }
  return "?";
}

// What a refusal must say: when to come back. The caller may come a millisecond later.
struct Verdict {
  bool admitted = true;
  int64_t retry_ms = 0;

  bool Agrees(const absl::Status& status) const {
    if (admitted || status.ok()) return admitted == status.ok();
    const int64_t delay = absl::ToInt64Milliseconds(RetryDelay(status));
    return retry_ms <= delay && delay <= retry_ms + 1;
  }
};

// Debts are in tokens times ticks per second.
class Ledger {
 public:
  void Wait(int64_t ticks) { now_ += ticks; }
  int64_t now() const { return now_; }
  size_t callers() const { return accounts_.size(); }

  Verdict Enter(int64_t caller, const QuotaLimits& limits) {
    ForgetThoseWithoutDebt();
    auto account = std::find_if(accounts_.begin(), accounts_.end(),
                                [caller](const Account& a) { return a.caller == caller; });
    if (account == accounts_.end()) {
      if (accounts_.size() == kCallersMax && !ForgetFirstIdle()) return {false, 1000};
      accounts_.push_back({.caller = caller, .settled = now_, .idle_since = ++endings_});
      account = std::prev(accounts_.end());
    }
    if (limits.calls_max > 0 && account->calls >= limits.calls_max) return {false, 1000};
    Settle(*account);
    account->rate = limits.tokens_per_second_max;
    ++account->calls;
    return {};
  }

  void Leave(int64_t caller) {
    Account& account = Of(caller);
    if (--account.calls == 0) account.idle_since = ++endings_;
  }

  Verdict Charge(int64_t caller, int64_t tokens) {
    Account& account = Of(caller);
    if (account.rate == 0 || tokens == 0) return {};
    Settle(account);
    const int64_t full = account.rate * kBurstSeconds * kTicksPerSecond;
    if (account.debt < full) {
      account.debt += tokens * kTicksPerSecond;
      return {};
    }
    // Until one token is there, rounded up to a millisecond.
    const int64_t lacks = (account.debt - full + kTicksPerSecond) * 1000;
    const int64_t a_millisecond = account.rate * kTicksPerSecond;
    return {false, (lacks + a_millisecond - 1) / a_millisecond};
  }

  void Refund(int64_t caller, int64_t tokens) {
    Account& account = Of(caller);
    Settle(account);
    account.debt = std::max<int64_t>(0, account.debt - tokens * kTicksPerSecond);
  }

 private:
  struct Account {
    int64_t caller;
    int64_t calls = 0;
    int64_t rate = 0;
    int64_t debt = 0;
    int64_t settled;
    int64_t idle_since;  // the number of the call's end
  };
  using Accounts = std::vector<Account>;

  Account& Of(int64_t caller) {
    return *std::find_if(accounts_.begin(), accounts_.end(),
                         [caller](const Account& account) { return account.caller == caller; });
  }
  void Settle(Account& account) const {
    const int64_t ticks = std::max<int64_t>(0, now_ - account.settled);
    account.debt = std::max<int64_t>(0, account.debt - account.rate * ticks);
    account.settled = now_;
  }
  Accounts::iterator FirstIdle() {
    auto first = accounts_.end();
    for (auto account = accounts_.begin(); account != accounts_.end(); ++account) {
      if (account->calls > 0) continue;
      if (first == accounts_.end() || account->idle_since < first->idle_since) first = account;
    }
    return first;
  }
  bool ForgetFirstIdle() {
    const auto first = FirstIdle();
    if (first == accounts_.end()) return false;
    accounts_.erase(first);
    return true;
  }
  void ForgetThoseWithoutDebt() {
    for (auto first = FirstIdle(); first != accounts_.end(); first = FirstIdle()) {
      Settle(*first);
      if (first->rate > 0 && first->debt > 0) return;
      accounts_.erase(first);
    }
  }

  Accounts accounts_;
  int64_t now_ = 0, endings_ = 0;
};

class Comparison {
 public:
  Wrong Take(const Step& step) {
    if (step.kind == Kind::kWait) {
      ledger_.Wait(step.amount);
    } else if (step.kind == Kind::kEnter) {
      return Enter(step.of % kCallers, step.limits);
    } else if (!calls_.empty()) {
      return Continue(step, calls_.begin() + step.of % static_cast<int64_t>(calls_.size()));
    }
    return std::nullopt;
  }

 private:
  struct Call {
    int64_t caller;
    Quota::Lease lease;
  };

  absl::Time now() const { return kStart + absl::Seconds(1) * ledger_.now() / kTicksPerSecond; }

  Wrong Enter(int64_t caller, const QuotaLimits& limits) {
    absl::StatusOr<Quota::Lease> lease =
        quota_->Enter(absl::StrCat("caller", caller), limits, now());
    if (!ledger_.Enter(caller, limits).Agrees(lease.status())) return lease.status().ToString();
    if (quota_->callers() != ledger_.callers())
      return absl::StrCat(quota_->callers(), " callers, not ", ledger_.callers());
    if (lease.ok()) calls_.push_back({caller, *std::move(lease)});
    return std::nullopt;
  }

  Wrong Continue(const Step& step, std::vector<Call>::iterator call) {
    if (step.kind == Kind::kLeave) {
      ledger_.Leave(call->caller);
      calls_.erase(call);  // which moves the leases of those behind
    } else if (step.kind == Kind::kRefund) {
      call->lease.Refund(step.amount, now());
      ledger_.Refund(call->caller, step.amount);
    } else {
      const absl::Status status = call->lease.Charge(step.amount, now());
      const Verdict verdict = ledger_.Charge(call->caller, step.amount);
      if (!verdict.Agrees(status))
        return absl::StrCat(status.ToString(), ", not ", verdict.retry_ms, " ms");
    }
    return std::nullopt;
  }

  std::shared_ptr<Quota> quota_ = std::make_shared<Quota>(kCallersMax);
  Ledger ledger_;
  std::vector<Call> calls_;
};

Wrong Compare(const std::vector<Step>& steps) {
  Comparison comparison;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (const Wrong wrong = comparison.Take(steps[i]))
      return absl::StrCat("step ", i, ": ", *wrong);
  }
  return std::nullopt;
}

TEST(QuotaModel, IsALedgerInWholeNumbers) {
  test::RunAgainstModel<Step>(40'000, 400, MakeStep, Compare, TextOf);
}

}  // namespace
}  // namespace scalpel::access
