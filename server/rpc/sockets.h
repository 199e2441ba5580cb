// File descriptors of our own, and of those who do not say when they close them.

#ifndef SCALPEL_SERVER_RPC_SOCKETS_H_
#define SCALPEL_SERVER_RPC_SOCKETS_H_

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

namespace scalpel::rpc {

// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // Gives it up.
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Sockets that were handed to somebody who does not say when they are closed. A socket is known by
// its inode: the descriptor's number may have become another socket's.
class OpenSockets {
 public:
  void Add(int fd);
  // Forgets those that are closed; how many are left.
  int64_t Count();
  // Ends those, of TCP, with one of these addresses at the other side: HOST:PORT, with a host of
  // IPv6 in brackets. Whoever has them sees the end.
  void HangUp(const std::set<std::string>& addresses);
  // The same of all, of TCP or not.
  void HangUpAll();
  // At least as many as are open.
  int64_t CountAtMost() const { return static_cast<int64_t>(sockets_.size()); }

 private:
  std::unordered_map<int, ino_t> sockets_;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_SOCKETS_H_
