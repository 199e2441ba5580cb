// For builds with ThreadSanitizer. Debian's Abseil is not instrumented: the sanitizer would see no
// order in what absl::Mutex orders, and report every use of what it guards. So the functions of
// Abseil that order threads are called through these, which tell the sanitizer. They stand in the
// program, where the dynamic linker finds them first, so that gRPC's calls come through them too.
//
// Between `pre` and `post` the sanitizer looks away. That is also where Abseil calls conditions, on
// whatever thread holds the lock.

#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace {

// Abseil's own function of the same name.
template <typename Member>
void* Own(Member member) {
  void* here = nullptr;
  static_assert(sizeof(member) >= sizeof(here));
  std::memcpy(&here, &member, sizeof(here));  // a member that is not virtual is its address
  Dl_info info;
  void* own = nullptr;
  if (dladdr(here, &info) != 0 && info.dli_saddr == here) own = dlsym(RTLD_NEXT, info.dli_sname);
  if (own == nullptr || own == here) std::abort();
  return own;
}

// Whether this thread is in a function of Abseil, which may call another: that one tells nothing.
thread_local bool inside = false;

template <typename Result, typename... Arguments>
Result Call(void* function, Arguments... arguments) {
  struct Inside {
    const bool before = std::exchange(inside, true);
    ~Inside() { inside = before; }
  } const here;
  return reinterpret_cast<Result (*)(Arguments...)>(function)(arguments...);
}

void WillLock(absl::Mutex* mutex, unsigned how = 0) {
  if (!inside) __tsan_mutex_pre_lock(mutex, how);
}
void Locked(absl::Mutex* mutex, unsigned how = 0) {
  if (!inside) __tsan_mutex_post_lock(mutex, how, 0);
}
void WillUnlock(absl::Mutex* mutex, unsigned how = 0) {
  if (!inside) __tsan_mutex_pre_unlock(mutex, how);
}
void Unlocked(absl::Mutex* mutex, unsigned how = 0) {
  if (!inside) __tsan_mutex_post_unlock(mutex, how);
}

// The mutex is free while the thread waits.
class Waiting {
 public:
  explicit Waiting(absl::Mutex* mutex) : mutex_(mutex) {
    WillUnlock(mutex_);
    Unlocked(mutex_);
    WillLock(mutex_);
  }
  ~Waiting() { Locked(mutex_); }

 private:
  absl::Mutex* const mutex_;
};

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static void* const own = Own(&Mutex::Lock);
  WillLock(this);
  Call<void>(own, this);
  Locked(this);
}

void Mutex::Unlock() {
  static void* const own = Own(&Mutex::Unlock);
  WillUnlock(this);
  Call<void>(own, this);
  Unlocked(this);
}

// Abseil's own does something in its debug modes alone.
Mutex::~Mutex() { __tsan_mutex_destroy(this, 0); }

bool Mutex::TryLock() {
  static void* const own = Own(&Mutex::TryLock);
  WillLock(this, __tsan_mutex_try_lock);
  const bool locked = Call<bool>(own, this);
  Locked(this, __tsan_mutex_try_lock | (locked ? 0 : __tsan_mutex_try_lock_failed));
  return locked;
}

void Mutex::ReaderLock() {
  static void* const own = Own(&Mutex::ReaderLock);
  WillLock(this, __tsan_mutex_read_lock);
  Call<void>(own, this);
  Locked(this, __tsan_mutex_read_lock);
}

void Mutex::ReaderUnlock() {
  static void* const own = Own(&Mutex::ReaderUnlock);
  WillUnlock(this, __tsan_mutex_read_lock);
  Call<void>(own, this);
  Unlocked(this, __tsan_mutex_read_lock);
}

void Mutex::LockWhen(const Condition& condition) {
  static void* const own = Own(&Mutex::LockWhen);
  WillLock(this);
  Call<void>(own, this, &condition);
  Locked(this);
}

void Mutex::Await(const Condition& condition) {
  static void* const own = Own(&Mutex::Await);
  const Waiting waiting(this);
  Call<void>(own, this, &condition);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static void* const own = Own(&Mutex::AwaitWithTimeout);
  const Waiting waiting(this);
  return Call<bool>(own, this, &condition, timeout);
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  static void* const own = Own(&Mutex::AwaitWithDeadline);
  const Waiting waiting(this);
  return Call<bool>(own, this, &condition, deadline);
}

void CondVar::Wait(Mutex* mutex) {
  static void* const own = Own(&CondVar::Wait);
  const Waiting waiting(mutex);
  Call<void>(own, this, mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static void* const own = Own(&CondVar::WaitWithTimeout);
  const Waiting waiting(mutex);
  return Call<bool>(own, this, mutex, timeout);
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static void* const own = Own(&CondVar::WaitWithDeadline);
  const Waiting waiting(mutex);
  return Call<bool>(own, this, mutex, deadline);
}

void Notification::Notify() {
  static void* const own = Own(&Notification::Notify);
  __tsan_release(this);
  Call<void>(own, this);
}

void Notification::WaitForNotification() const {
  static void* const own = Own(&Notification::WaitForNotification);
  Call<void>(own, this);
  __tsan_acquire(const_cast<Notification*>(this));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  static void* const own = Own(&Notification::WaitForNotificationWithTimeout);
  const bool notified = Call<bool>(own, this, timeout);
  __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
