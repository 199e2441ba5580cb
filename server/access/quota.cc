#include "server/access/quota.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/errors.h"

namespace scalpel::access {
namespace {

constexpr double kBurstSeconds = 10;
// A guess: it is not known when one of the caller's calls will end.
constexpr absl::Duration kCallRetryDelay = absl::Seconds(1);

}  // namespace

Quota::Lease::Lease(std::shared_ptr<Quota> quota, Accounts::iterator account)
    : quota_(std::move(quota)), account_(account) {}

Quota::Lease& Quota::Lease::operator=(Lease&& other) noexcept {
  const Lease ended(std::move(*this));
  quota_ = std::move(other.quota_);
  account_ = other.account_;
  return *this;
}

Quota::Lease::~Lease() {
  if (quota_ != nullptr) quota_->Leave(account_);
}

absl::Status Quota::Lease::Charge(int64_t tokens, absl::Time now) {
  return quota_->Charge(account_, tokens, now);
}

void Quota::Lease::Refund(int64_t tokens, absl::Time now) { quota_->Refund(account_, tokens, now); }

absl::StatusOr<Quota::Lease> Quota::Enter(absl::string_view caller, const QuotaLimits& limits,
                                          absl::Time now) {
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<Accounts::iterator> found = Find(caller, now);
  if (!found.ok()) return found.status();
  const Accounts::iterator account = *found;
  if (limits.calls_max > 0 && account->calls >= limits.calls_max) {
    return Busy(absl::StrCat(account->calls,
                             " calls of this caller are under way, as many as it may have; "
                             "try again when one has ended"),
                kCallRetryDelay);
  }
  Settle(*account, now);  // at the old rate, before it is replaced
  account->rate = static_cast<double>(limits.tokens_per_second_max);
  if (account->calls++ == 0) busy_.splice(busy_.end(), idle_, account);
  return Lease(shared_from_this(), account);
}

size_t Quota::callers() const {
  absl::MutexLock lock(&mutex_);
  return by_caller_.size();
}

void Quota::Settle(Account& account, absl::Time now) {
  // If the clock is set back, the bucket is neither refilled nor drained.
  const double elapsed = std::max(0.0, absl::ToDoubleSeconds(now - account.settled));
  account.spent = std::max(0.0, account.spent - account.rate * elapsed);
  account.settled = now;
}

absl::StatusOr<Quota::Accounts::iterator> Quota::Find(absl::string_view caller, absl::Time now) {
  // An idle caller with a full bucket is no different from a new one, and need not be remembered.
  while (!idle_.empty()) {
    Account& first = idle_.front();
    Settle(first, now);
    if (first.rate > 0 && first.spent > 0) break;
    ForgetFirstIdle();
  }
  const auto found = by_caller_.find(caller);
  if (found != by_caller_.end()) return found->second;
  if (by_caller_.size() >= callers_max_) {
    if (idle_.empty()) {
      return Busy("too many callers at once; try again", kCallRetryDelay);
    }
    ForgetFirstIdle();
  }
  idle_.push_back(Account{.caller = std::string(caller), .settled = now});
  return by_caller_[idle_.back().caller] = std::prev(idle_.end());
}

void Quota::ForgetFirstIdle() {
  by_caller_.erase(idle_.front().caller);
  idle_.pop_front();
}

absl::Status Quota::Charge(Accounts::iterator account, int64_t tokens, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  if (account->rate <= 0 || tokens <= 0) return absl::OkStatus();
  Settle(*account, now);
  const double left = account->rate * kBurstSeconds - account->spent;
  if (left > 0) {
    account->spent += static_cast<double>(tokens);
    return absl::OkStatus();
  }
  // The time until the bucket holds one token.
  const absl::Duration delay =
      absl::Ceil(absl::Seconds((1 - left) / account->rate), absl::Milliseconds(1));
  return Busy(
      absl::StrCat("this caller has used more than its ", static_cast<int64_t>(account->rate),
                   " tokens a second; try again in ", absl::FormatDuration(delay)),
      delay);
}

void Quota::Refund(Accounts::iterator account, int64_t tokens, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  Settle(*account, now);
  account->spent = std::max(0.0, account->spent - static_cast<double>(tokens));
}

void Quota::Leave(Accounts::iterator account) {
  absl::MutexLock lock(&mutex_);
  if (--account->calls == 0) idle_.splice(idle_.end(), busy_, account);
}

}  // namespace scalpel::access
