// Threads for what takes too long for gRPC's own: on two cores it has two, which also answer health
// checks and GetStatus.

#ifndef SCALPEL_SERVER_RPC_WORKERS_H_
#define SCALPEL_SERVER_RPC_WORKERS_H_

#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace scalpel::rpc {

// Runs pieces of work, those of each peer in their order, and the peers in turn: who sends many
// delays the others by one piece a thread. The queue has no bound of its own; each piece is of a
// call that was admitted, and their number is bounded.
//
// Thread-safe.
class Workers {
 public:
  explicit Workers(int threads);
  // Work that has not begun is dropped. Joins.
  ~Workers();

  // Runs `work` on one of the threads, soon. It must not throw.
  void Post(absl::string_view peer, std::function<void()> work);

 private:
  struct Peer {
    std::string name;
    std::deque<std::function<void()>> work;  // never empty
  };

  void Run();

  absl::Mutex mutex_;
  std::deque<Peer> peers_ ABSL_GUARDED_BY(mutex_);  // in the order of their turns
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_WORKERS_H_
