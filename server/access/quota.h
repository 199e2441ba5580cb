// What each caller may use: calls at once, and tokens a second.

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
  int32_t calls_max = 0;              // at once; 0: no limit
  int64_t tokens_per_second_max = 0;  // 0: no limit
};

// Tokens are counted by a bucket that allows debt: a caller who has not used up what it has
// gathered, at most that of ten seconds, may spend any number at once, and then waits until the
// debt is paid. So a request larger than the bucket is slowed, and never refused for good.
//
// Thread-safe. Made by std::make_shared; leases keep it alive.
class Quota : public std::enable_shared_from_this<Quota> {
  struct Account;
  using Accounts = std::list<Account>;

 public:
  // One call of a caller. Ends it when destroyed. Movable, not copyable.
  class Lease {
   public:
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&& other) noexcept;
    ~Lease();

    // Spends tokens, all of them or none. RESOURCE_EXHAUSTED with RetryInfo: not before then.
    absl::Status Charge(int64_t tokens, absl::Time now);
    // Gives back what was charged and will not be used.
    void Refund(int64_t tokens, absl::Time now);

   private:
    friend class Quota;
    Lease(std::shared_ptr<Quota> quota, Accounts::iterator account);

    std::shared_ptr<Quota> quota_;  // null: moved away
    Accounts::iterator account_;
  };

  // Callers that are kept in mind. Beyond, the one whose last call ended longest ago is forgotten,
  // with its debt.
  static constexpr size_t kCallersMax = 10'000;
  explicit Quota(size_t callers_max = kCallersMax) : callers_max_(callers_max) {}

  // Begins a call. The limits hold for this caller from now on. RESOURCE_EXHAUSTED with RetryInfo:
  // as many are under way as may be.
  absl::StatusOr<Lease> Enter(absl::string_view caller, const QuotaLimits& limits, absl::Time now);

  size_t callers() const;  // kept in mind

 private:
  struct Account {
    std::string caller;
    int32_t calls = 0;   // under way
    double rate = 0;     // tokens a second; 0: no limit
    double spent = 0;    // tokens that time has not yet made good
    absl::Time settled;  // the time of `spent`
  };

  // Brings `spent` up to date.
  static void Settle(Account& account, absl::Time now);
  // The caller's account, perhaps a new one. RESOURCE_EXHAUSTED: there is no room.
  absl::StatusOr<Accounts::iterator> Find(absl::string_view caller, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetFirstIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Charge(Accounts::iterator account, int64_t tokens, absl::Time now);
  void Refund(Accounts::iterator account, int64_t tokens, absl::Time now);
  void Leave(Accounts::iterator account);

  const size_t callers_max_;
  mutable absl::Mutex mutex_;
  Accounts busy_ ABSL_GUARDED_BY(mutex_);  // with calls under way
  Accounts idle_ ABSL_GUARDED_BY(mutex_);  // without, in the order in which their last ones ended
  absl::flat_hash_map<std::string, Accounts::iterator> by_caller_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_QUOTA_H_
