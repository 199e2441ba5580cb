// Makes Ctrl-C cancel the call instead of ending the program.

#ifndef SCALPEL_CLIENT_CPP_INTERRUPT_H_
#define SCALPEL_CLIENT_CPP_INTERRUPT_H_

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

namespace scalpel::client {

// While this object exists, the first SIGINT or SIGTERM calls `interrupted` on a thread of this
// object, and the second one ends the program at once. The destructor restores the previous
// handlers. At most one object may exist at a time.
class Interrupt {
 public:
  explicit Interrupt(std::function<void()> interrupted);
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // Returns whether a signal has arrived. Thread-safe.
  bool happened() const { return happened_; }

 private:
  std::atomic<bool> happened_ = false;
  int pipe_[2];  // from the signal handler to the thread
  struct sigaction old_int_ = {};
  struct sigaction old_term_ = {};
  std::thread thread_;
};

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_INTERRUPT_H_
