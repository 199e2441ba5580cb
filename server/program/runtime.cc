#include "server/program/runtime.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace scalpel {

void GuardStandardStreams() {
  signal(SIGPIPE, SIG_IGN);
  for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR)) {
    if (fd <= STDERR_FILENO) continue;
    close(fd);
    break;
  }
}

}  // namespace scalpel
