// SIGINT and SIGTERM, as a request to stop.

#ifndef SCALPEL_SERVER_PROGRAM_STOP_SIGNAL_H_
#define SCALPEL_SERVER_PROGRAM_STOP_SIGNAL_H_

#include <memory>

#include "absl/synchronization/mutex.h"

namespace scalpel {

// The first signal ends Wait; a second one ends the process at once. Before Arm there is nothing to
// drain, and the first signal ends the process at once, with status 0.
class StopSignal {
 public:
  // Create it in main before any other thread starts: threads inherit that the signals are blocked.
  StopSignal();

  void Arm();
  void Wait();
  // As if the first signal had come. Thread-safe.
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
