// Ctrl-C cancels the call instead of killing the program.

#ifndef SCALPEL_CLIENT_CPP_INTERRUPT_H_
#define SCALPEL_CLIENT_CPP_INTERRUPT_H_

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

namespace scalpel::client {

// While it lives, the first SIGINT or SIGTERM calls `interrupted` on a thread of its own; the
// second one ends the program at once. At most one exists at a time. The handlers of before come
// back with its end.
class Interrupt {
 public:
  explicit Interrupt(std::function<void()> interrupted);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool happened() const { return happened_; }

 private:
  std::atomic<bool> happened_ = false;
  int pipe_[2];  // from the signal handler, which may only write, to the thread
  struct sigaction old_int_ = {};
  struct sigaction old_term_ = {};
  std::thread thread_;
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_INTERRUPT_H_
