#include "client/cpp/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "client/cpp/errors.h"

namespace scalpel::client {
namespace {

constexpr char kSignal = 's';
constexpr char kEnd = 'e';

std::atomic<int> signal_fd{-1};
std::atomic<int> signals{0};

// Uses only what is async-signal-safe: lock-free atomics, write and _exit.
void OnSignal(int) {
  const int saved = errno;
  if (++signals > 1) _exit(kInterrupted);
  if (write(signal_fd, &kSignal, 1) < 0) _exit(kInterrupted);
  errno = saved;
}

}  // namespace

Interrupt::Interrupt(std::function<void()> interrupted) {
  if (pipe2(pipe_, O_CLOEXEC) != 0) {
    std::abort();  // no file descriptor is left, so no call could be made either
  }
  signals = 0;
  signal_fd = pipe_[1];
  thread_ = std::thread([this, interrupted = std::move(interrupted)] {
    char byte = 0;
    while (read(pipe_[0], &byte, 1) < 0 && errno == EINTR) continue;
    if (byte != kSignal) return;
    happened_ = true;
    interrupted();
  });
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &old_int_);
  sigaction(SIGTERM, &action, &old_term_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &old_int_, nullptr);
  sigaction(SIGTERM, &old_term_, nullptr);
  if (write(pipe_[1], &kEnd, 1) < 0) std::abort();  // cannot fail: the pipe is nearly empty
  thread_.join();
  close(pipe_[0]);
  close(pipe_[1]);
}

}  // namespace scalpel::client
