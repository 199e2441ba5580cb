// Limits what each caller uses: calls in progress, and model tokens per second.

#ifndef SCALPEL_SERVER_ACCESS_QUOTA_H_
#define SCALPEL_SERVER_ACCESS_QUOTA_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace scalpel::access {

struct QuotaLimits {
  int32_t calls_max = 0;              // in progress; 0: no limit
  int64_t tokens_per_second_max = 0;  // 0: no limit
};

// Counts the calls and the tokens of each caller, in memory.
//
// The rate is limited by a token bucket that holds ten seconds' worth of tokens and may go into
// debt: while the bucket is not empty, a caller may spend any number of tokens, and then has to
// wait until the debt is paid off. So a request larger than the bucket is delayed, but never
// refused for good.
//
// Thread-safe. Must be created by std::make_shared; leases keep it alive.
class Quota : public std::enable_shared_from_this<Quota> {
  struct Account;
  using Accounts = std::list<Account>;

 public:
  // One call in progress, which ends when the lease is destroyed. Movable, not copyable.
  class Lease {
   public:
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&& other) noexcept;
    ~Lease();

    // Charges the caller, for all the tokens or none. RESOURCE_EXHAUSTED with RetryInfo: the bucket
    // is empty until then.
    absl::Status Charge(int64_t tokens, absl::Time now);
    // Returns charged tokens that will not be used.
    void Refund(int64_t tokens, absl::Time now);

   private:
    friend class Quota;
    Lease(std::shared_ptr<Quota> quota, Accounts::iterator account);

    std::shared_ptr<Quota> quota_;  // null if moved from
    Accounts::iterator account_;
  };

  // The bound on remembered callers. When it is reached, the caller whose last call ended longest
  // ago is forgotten, together with its debt.
  static constexpr size_t kCallersMax = 10'000;
  explicit Quota(size_t callers_max = kCallersMax) : callers_max_(callers_max) {}

  // Begins a call. From now on `limits` apply to this caller. RESOURCE_EXHAUSTED with RetryInfo:
  // the caller has `limits.calls_max` calls in progress, or every remembered caller has some.
  absl::StatusOr<Lease> Enter(absl::string_view caller, const QuotaLimits& limits, absl::Time now);

  // Returns the number of remembered callers.
  size_t callers() const;

 private:
  struct Account {
    std::string caller;
    int32_t calls = 0;   // in progress
    double rate = 0;     // tokens per second; 0: no limit
    double spent = 0;    // tokens taken from the bucket and not yet refilled
    absl::Time settled;  // when `spent` was last updated
  };

  // Refills the bucket up to `now`.
  static void Settle(Account& account, absl::Time now);
  // Finds or creates the caller's account. RESOURCE_EXHAUSTED: all accounts are busy.
  absl::StatusOr<Accounts::iterator> Find(absl::string_view caller, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetFirstIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Charge(Accounts::iterator account, int64_t tokens, absl::Time now);
  void Refund(Accounts::iterator account, int64_t tokens, absl::Time now);
  void Leave(Accounts::iterator account);

  const size_t callers_max_;
  mutable absl::Mutex mutex_;
  Accounts busy_ ABSL_GUARDED_BY(mutex_);  // with calls in progress
  Accounts idle_ ABSL_GUARDED_BY(mutex_);  // without, ordered by the end of their last call
  absl::flat_hash_map<std::string, Accounts::iterator> by_caller_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_QUOTA_H_
