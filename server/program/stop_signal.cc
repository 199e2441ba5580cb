#include "server/program/stop_signal.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

namespace scalpel {

StopSignal::StopSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Detached, because it waits for a second signal until the process ends.
  std::thread([signals, state = state_] {
    int signal = 0;
    sigwait(&signals, &signal);
    {
      absl::MutexLock lock(&state->mutex);
      if (!state->armed) _exit(0);
      state->arrived = true;
    }
    sigwait(&signals, &signal);
    _exit(128 + signal);
  }).detach();
}

void StopSignal::Arm() {
  absl::MutexLock lock(&state_->mutex);
  state_->armed = true;
}

void StopSignal::Trigger() {
  absl::MutexLock lock(&state_->mutex);
  state_->arrived = true;
}

void StopSignal::Wait() {
  absl::MutexLock lock(&state_->mutex);
  state_->mutex.Await(absl::Condition(&state_->arrived));
}

}  // namespace scalpel
