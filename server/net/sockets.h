// Sockets whose owner does not say when it closes them.

#ifndef SCALPEL_SERVER_NET_SOCKETS_H_
#define SCALPEL_SERVER_NET_SOCKETS_H_

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <unordered_map>

namespace scalpel::net {

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

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_SOCKETS_H_
