// SIGINT and SIGTERM as requests to stop.

#ifndef SCALPEL_SERVER_PROGRAM_STOP_SIGNAL_H_
#define SCALPEL_SERVER_PROGRAM_STOP_SIGNAL_H_

#include <memory>

#include "absl/synchronization/mutex.h"

namespace scalpel {

// After Arm, the first signal makes Wait return, and a second one ends the process at once with
// status 128 plus the signal's number. Before Arm there is nothing to drain, and the first signal
// ends the process with status 0. The methods are thread-safe.
class StopSignal {
 public:
  // Blocks the signals and starts a thread that waits for them. Must be called before any other
  // thread starts, so that all threads inherit the blocked signals. Create only one.
  StopSignal();

  void Arm();
  // Waits for the first signal or Trigger.
  void Wait();
  // Acts as the first signal: Wait returns.
  void Trigger();

 private:
  struct State {
    absl::Mutex mutex;
    bool armed = false;    // guarded by mutex
    bool arrived = false;  // guarded by mutex
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_STOP_SIGNAL_H_
