#include "server/rpc/sockets.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace scalpel::rpc {
namespace {

// The port at the other side of a socket of TCP; 0: it has none.
uint16_t PeerPort(int fd) {
  union {
    sockaddr any;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
    sockaddr_storage room;
  } peer{};
  socklen_t size = sizeof peer;
  if (getpeername(fd, &peer.any, &size) != 0) return 0;
  if (peer.any.sa_family == AF_INET) return ntohs(peer.ipv4.sin_port);
  if (peer.any.sa_family == AF_INET6) return ntohs(peer.ipv6.sin6_port);
  return 0;
}

}  // namespace

Descriptor::~Descriptor() {
  if (valid()) close(fd_);
}

void OpenSockets::Add(int fd) {
  struct stat status;
  if (fstat(fd, &status) == 0) sockets_[fd] = status.st_ino;
}

int64_t OpenSockets::Count() {
  std::erase_if(sockets_, [](const auto& socket) {
    struct stat status;
    return fstat(socket.first, &status) != 0 || !S_ISSOCK(status.st_mode) ||
           status.st_ino != socket.second;
  });
  return CountAtMost();
}

void OpenSockets::HangUp(const std::set<uint16_t>& ports) {
  Count();  // of numbers that now stand for something else, none is touched
  for (const auto& [fd, inode] : sockets_) {
    if (ports.contains(PeerPort(fd))) shutdown(fd, SHUT_RDWR);
  }
}

}  // namespace scalpel::rpc
