// Cancels calls whose clients have stopped reading: gRPC would wait for them forever, and keep the
// unread messages in memory.

#ifndef SCALPEL_SERVER_NET_STALL_WATCH_H_
#define SCALPEL_SERVER_NET_STALL_WATCH_H_

#include <grpcpp/server_context.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace scalpel::net {

// One call, and since when it has been waiting for its reader. Thread-safe.
class WatchedCall {
 public:
  // `context` must stay valid until Forget has returned.
  WatchedCall(grpc::CallbackServerContext* context, std::string request_id)
      : context_(context), request_id_(std::move(request_id)) {}

  // Call when a message is handed to gRPC.
  void WriteBegan() { writing_since_ = std::chrono::steady_clock::now(); }
  // Call when the write has completed or failed.
  void WriteEnded() { writing_since_ = std::chrono::steady_clock::time_point(); }
  // Call before gRPC destroys the context. Afterwards this object does not use it.
  void Forget();
  // Cancels the call, and logs that, if a message has waited for its reader for `patience`.
  void CutOffIfStalled(std::chrono::nanoseconds patience);

 private:
  grpc::CallbackServerContext* const context_;
  const std::string request_id_;
  // When the current write began; the clock's epoch if there is none.
  std::atomic<std::chrono::steady_clock::time_point> writing_since_;
  // Recursive, because it is held while gRPC cancels the call, and gRPC may then call back on the
  // same thread and reach Forget.
  std::recursive_mutex mutex_;
  bool forgotten_ = false;  // guarded by mutex_
};

// Watches calls on a thread of its own. Thread-safe.
class StallWatch {
 public:
  // `patience`: how long a message may wait for its reader. A stalled call is cancelled at most a
  // quarter of it later.
  explicit StallWatch(absl::Duration patience);
  ~StallWatch();

  // Watches the call for as long as the caller holds the returned pointer.
  std::shared_ptr<WatchedCall> Watch(grpc::CallbackServerContext* context,
                                     const std::string& request_id);

 private:
  void Run();

  const std::chrono::nanoseconds patience_;
  // The standard library's, not Abseil's, because these wait by the monotonic clock.
  std::mutex mutex_;
  std::condition_variable woken_;
  bool stopping_ = false;                          // guarded by mutex_
  std::vector<std::weak_ptr<WatchedCall>> calls_;  // guarded by mutex_; some may have expired
  size_t tidy_at_ = 0;  // guarded by mutex_; the size of calls_ at which expired ones are removed
  std::thread thread_;
};

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_STALL_WATCH_H_
