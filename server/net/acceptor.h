// Takes connections and hands them on, no more than a limit at once.
//
// gRPC could listen itself, but version 1.51 stops for good when the process has no descriptor left
// at the moment that a client comes (CVE-2023-4785), and it knows no limit.

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

class Acceptor {
 public:
  // Owns the connection from then on. Its descriptor does not block, and closes on exec.
  using Hand = std::function<void(int fd)>;

  // Binds every address of `address`, HOST:PORT (port 0: any free one). Clients may connect from
  // then on, and wait. UNAVAILABLE: the address cannot be had.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Listen(const std::string& address);
  // The same for `name` in Linux's abstract namespace of Unix sockets.
  static absl::StatusOr<std::unique_ptr<Acceptor>> ListenLocally(const std::string& name);
  ~Acceptor() { Stop(); }

  // HOST:PORT with the port that was bound, or the name.
  const std::string& address() const { return address_; }

  // Begins to hand connections on, on a thread of its own. While `connections_max` are open, others
  // are closed at once. Called once.
  void Start(int32_t connections_max, Hand hand);

  // Takes no more connections; those that wait are refused. Idempotent, but not thread-safe.
  void Stop();

  // Ends the connections that come from these addresses, as OpenSockets::HangUp takes them.
  void HangUp(const std::set<std::string>& addresses);
  void HangUpAll();

  // Connections that are open now, and that have been refused since the start.
  int64_t open() const;
  int64_t refused() const { return refused_; }

 private:
  Acceptor(std::string address, FileDescriptor stop, std::vector<FileDescriptor> listening)
      : address_(std::move(address)), stop_(std::move(stop)), listening_(std::move(listening)) {}

  // UNAVAILABLE: there is no descriptor left for it.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Make(std::string address,
                                                        std::vector<FileDescriptor> listening);

  void Run();
  // Takes the connections that wait at a socket, up to some; false: there was no descriptor or
  // memory for the next one.
  bool Take(int listening);
  // Whether there is room for one more.
  bool Admit();
  // Whether a warning is due, no more than one in a while.
  bool WarnsNow();

  const std::string address_;
  const FileDescriptor stop_;  // an eventfd
  std::vector<FileDescriptor> listening_;
  int32_t connections_max_ = 0;
  Hand hand_;
  std::thread thread_;

  mutable absl::Mutex mutex_;
  mutable OpenSockets sockets_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int64_t> refused_ = 0;
  // Of the thread. By a clock that nobody sets: a step back must not close the door for as long.
  using Instant = std::chrono::steady_clock::time_point;
  std::optional<Instant> counted_;  // when there was last no room
  std::optional<Instant> warned_;
};

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_ACCEPTOR_H_
