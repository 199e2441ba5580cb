#include "server/rpc/sockets.h"

#include <sys/stat.h>
#include <unistd.h>

namespace scalpel::rpc {

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

}  // namespace scalpel::rpc
