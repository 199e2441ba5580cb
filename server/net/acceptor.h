// Accepts connections for gRPC, up to a limit.
//
// gRPC could listen by itself, but version 1.51 stops accepting for good if the process is out of
// file descriptors when a client connects (CVE-2023-4785), and it cannot limit connections.

#ifndef SCALPEL_SERVER_NET_ACCEPTOR_H_
#define SCALPEL_SERVER_NET_ACCEPTOR_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/base/file_descriptor.h"
#include "server/net/sockets.h"

namespace scalpel::net {

// Listens on one address and hands each accepted connection to a function. Start and Stop must not
// be called concurrently; the other methods are thread-safe.
class Acceptor {
 public:
  // Takes ownership of the descriptor of an accepted connection, which is non-blocking and
  // close-on-exec. Called on the acceptor's thread.
  using Hand = std::function<void(int fd)>;

  // Binds every address that `address`, HOST:PORT, resolves to (port 0: any free port) and listens.
  // Clients that connect before Start wait in the backlog. UNAVAILABLE: the address cannot be
  // resolved or bound.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Listen(const std::string& address);
  // Listens on a Unix socket called `name` in Linux's abstract namespace. Errors as in Listen.
  static absl::StatusOr<std::unique_ptr<Acceptor>> ListenLocally(const std::string& name);
  ~Acceptor() { Stop(); }

  // Returns HOST:PORT with the bound port, or the name of the Unix socket.
  const std::string& address() const { return address_; }

  // Starts a thread that accepts connections and passes them to `hand`. While `connections_max` are
  // open, further connections are closed as soon as they are accepted. Must be called at most once.
  void Start(int32_t connections_max, Hand hand);

  // Stops accepting and closes the listening sockets, which refuses waiting clients. Open
  // connections are not affected. Idempotent.
  void Stop();

  // Shuts down the open connections from these peer addresses; see OpenSockets::HangUp.
  void HangUp(const std::set<std::string>& addresses);
  // Shuts down all open connections.
  void HangUpAll();

  // Returns the number of open connections.
  int64_t open() const;
  // Returns the number of connections refused since Start because too many were open.
  int64_t refused() const { return refused_; }

 private:
  Acceptor(std::string address, FileDescriptor stop, std::vector<FileDescriptor> listening)
      : address_(std::move(address)), stop_(std::move(stop)), listening_(std::move(listening)) {}

  // UNAVAILABLE: no eventfd can be created.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Make(std::string address,
                                                        std::vector<FileDescriptor> listening);

  void Run();
  // Accepts waiting connections, up to a bound, from one listening socket. Returns false if the
  // process or system is out of descriptors or memory.
  bool Take(int listening);
  // Returns whether another connection fits under the limit; counts a refusal if not.
  bool Admit();
  // Returns whether a warning may be logged now; warnings are rate-limited.
  bool WarnsNow();

  const std::string address_;
  const FileDescriptor stop_;  // an eventfd, readable once the thread must stop
  std::vector<FileDescriptor> listening_;
  int32_t connections_max_ = 0;
  Hand hand_;
  std::thread thread_;

  mutable absl::Mutex mutex_;
  mutable OpenSockets sockets_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int64_t> refused_ = 0;
  // Used only by the thread. The clock is monotonic: if the system's clock is set back, connections
  // must not be refused until it has caught up.
  using Instant = std::chrono::steady_clock::time_point;
  std::optional<Instant> counted_;  // when the last count found no room
  std::optional<Instant> warned_;   // when the last warning was logged
};

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_ACCEPTOR_H_
