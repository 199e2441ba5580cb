#include "server/net/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace scalpel::net {
namespace {

std::string Address(int family, const void* bytes, uint32_t scope, in_port_t port) {
  char host[INET6_ADDRSTRLEN] = "";
  inet_ntop(family, bytes, host, sizeof host);
  if (family == AF_INET) return absl::StrCat(host, ":", ntohs(port));
  return absl::StrCat("[", host, scope == 0 ? "" : absl::StrCat("%", scope), "]:", ntohs(port));
}

// Returns the peer's HOST:PORT of a TCP socket; empty if there is none. As in gRPC, an IPv4 address
// mapped into IPv6 is written as IPv4.
std::string PeerAddress(int fd) {
  union {
    sockaddr any;
    sockaddr_in ipv4;
    sockaddr_in6 ipv6;
    sockaddr_storage room;
  } peer{};
  socklen_t size = sizeof peer;
  if (getpeername(fd, &peer.any, &size) != 0) return "";
  if (peer.any.sa_family == AF_INET) {
    return Address(AF_INET, &peer.ipv4.sin_addr, 0, peer.ipv4.sin_port);
  }
  if (peer.any.sa_family != AF_INET6) return "";
  const in6_addr& host = peer.ipv6.sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&host)) {
    return Address(AF_INET, host.s6_addr + 12, 0, peer.ipv6.sin6_port);
  }
  return Address(AF_INET6, &host, peer.ipv6.sin6_scope_id, peer.ipv6.sin6_port);
}

}  // namespace

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

void OpenSockets::HangUp(const std::set<std::string>& addresses) {
  Count();  // drops closed sockets, whose numbers may belong to other files now
  for (const auto& [fd, inode] : sockets_) {
    if (addresses.contains(PeerAddress(fd))) shutdown(fd, SHUT_RDWR);
  }
}

void OpenSockets::HangUpAll() {
  Count();
  for (const auto& [fd, inode] : sockets_) shutdown(fd, SHUT_RDWR);
}

}  // namespace scalpel::net
