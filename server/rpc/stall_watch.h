// Ends calls whose readers take nothing any more: gRPC would wait for them for ever, and what they
// do not read would stay in memory.

#ifndef SCALPEL_SERVER_RPC_STALL_WATCH_H_
#define SCALPEL_SERVER_RPC_STALL_WATCH_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "server/rpc/response_stream.h"

namespace scalpel::rpc {

// Thread-safe.
class StallWatch {
 public:
  // How long a message may wait for its reader. A call is ended after at most a quarter more.
  explicit StallWatch(absl::Duration patience);
  ~StallWatch();

  // Watches the call until it ends.
  void Add(std::weak_ptr<ResponseStream> stream);

 private:
  void Run();

  const std::chrono::nanoseconds patience_;
  // Of the standard library, whose waits go by a clock that nobody sets.
  std::mutex mutex_;
  std::condition_variable woken_;
  bool stopping_ = false;                               // guarded by mutex_
  std::vector<std::weak_ptr<ResponseStream>> streams_;  // the same; some have ended
  size_t tidy_at_ = 0;                                  // the same: the size that is too many
  std::thread thread_;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_STALL_WATCH_H_
