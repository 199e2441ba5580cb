// Tracks open sockets that other code owns.

#ifndef SCALPEL_SERVER_NET_SOCKETS_H_
#define SCALPEL_SERVER_NET_SOCKETS_H_

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>

namespace scalpel::net {

// Sockets whose owner, gRPC, does not report when it closes them. A socket is identified by its
// inode besides its descriptor, since the number may be reused after a close. Not thread-safe.
class OpenSockets {
 public:
  // Starts to track a socket. Does not take ownership.
  void Add(int fd);
  // Drops the sockets that have been closed, and returns how many are still open. Costs a system
  // call for each tracked socket.
  int64_t Count();
  // Shuts down (see shutdown(2)) the TCP sockets whose peer is one of these addresses: HOST:PORT,
  // with an IPv6 host in brackets. Their owner sees the end of the connection, and closes them.
  void HangUp(const std::set<std::string>& addresses);
  // Shuts down all open sockets, TCP or not.
  void HangUpAll();
  // Returns an upper bound of the number of open sockets, without a system call.
  int64_t CountAtMost() const { return static_cast<int64_t>(sockets_.size()); }

 private:
  std::unordered_map<int, ino_t> sockets_;
};

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_SOCKETS_H_
