// Ends calls whose readers take nothing any more: gRPC would wait for them for ever, and what they
// do not read would stay in memory.

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

// A call, and how long its reader has been waited for. Thread-safe.
class WatchedCall {
 public:
  WatchedCall(grpc::CallbackServerContext* context, std::string request_id)
      : context_(context), request_id_(std::move(request_id)) {}

  // A message was handed to gRPC.
  void Writes() { writing_since_ = std::chrono::steady_clock::now(); }
  // Its reader has taken it, or never will.
  void Wrote() { writing_since_ = std::chrono::steady_clock::time_point(); }
  // gRPC is about to forget the context.
  void Forget();
  // Cancels the call if its reader has let a message wait for so long.
  void CutOffIfStalled(std::chrono::nanoseconds patience);

 private:
  grpc::CallbackServerContext* const context_;
  const std::string request_id_;
  // The clock's epoch: no message waits.
  std::atomic<std::chrono::steady_clock::time_point> writing_since_;
  // Held while gRPC is told to cancel, and may call back on the same thread, as far as Forget.
  std::recursive_mutex mutex_;
  bool forgotten_ = false;  // guarded by mutex_
};

// Thread-safe.
class StallWatch {
 public:
  // How long a message may wait for its reader. A call is ended after at most a quarter more.
  explicit StallWatch(absl::Duration patience);
  ~StallWatch();

  // Watches the call for as long as the caller keeps what is returned.
  std::shared_ptr<WatchedCall> Watch(grpc::CallbackServerContext* context,
                                     const std::string& request_id);

 private:
  void Run();

  const std::chrono::nanoseconds patience_;
  // Of the standard library, whose waits go by a clock that nobody sets.
  std::mutex mutex_;
  std::condition_variable woken_;
  bool stopping_ = false;                          // guarded by mutex_
  std::vector<std::weak_ptr<WatchedCall>> calls_;  // the same; some have ended
  size_t tidy_at_ = 0;                             // the same: the size that is too many
  std::thread thread_;
};

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_STALL_WATCH_H_
