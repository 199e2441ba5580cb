// Admission, the queue, and the one thread that owns the device.

#ifndef SCALPEL_SERVER_ENGINE_SCHEDULER_H_
#define SCALPEL_SERVER_ENGINE_SCHEDULER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/event_stream.h"
#include "server/engine/job.h"
#include "server/limits.h"
#include "server/model/gpt2.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// Thread-safe.
class Scheduler {
 public:
  // Starts the engine's thread. `gpt2` outlives this object.
  Scheduler(const model::Gpt2& gpt2, const Limits& limits);
  // Cancels what is left, and joins.
  ~Scheduler();

  // Takes the job, or refuses it at once; never blocks. The job's stream is closed with OK,
  // DEADLINE_EXCEEDED, CANCELLED or INTERNAL when its work is done. The plan's response bytes stay
  // reserved until the job's stream is destroyed. Errors: RESOURCE_EXHAUSTED with RetryInfo (queue
  // full, too many bytes waiting for readers); UNAVAILABLE (draining).
  absl::Status Submit(Job job);

  // Refuses new jobs from now on.
  void StopAdmission();
  // Waits until no job is queued or running; false: `timeout` passed first.
  bool WaitIdle(absl::Duration timeout);
  // Cancels every job, queued and running: their streams close with UNAVAILABLE.
  void CancelAll();

 private:
  void Loop();
  // The next job, waiting for one; nullopt: stop.
  std::optional<Job> Next();
  // Runs the job and says how its stream ends. Holds the only try/catch around libtorch.
  absl::Status Run(const Job& job);
  // Takes the jobs that nobody waits for any more off the queue, and closes their streams.
  void DropUnwanted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const model::Gpt2& gpt2_;
  const Limits limits_;
  const int threads_;  // OpenMP keeps its number of threads per thread: the engine's takes over the
                       // creator's
  // Bytes of responses that are not yet read, over all streams. Streams outlive the scheduler, and
  // so must this.
  const std::shared_ptr<std::atomic<int64_t>> buffered_bytes_ =
      std::make_shared<std::atomic<int64_t>>(0);
  absl::Mutex mutex_;
  std::deque<Job> queue_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<EventStream> running_ ABSL_GUARDED_BY(mutex_);
  bool admitting_ ABSL_GUARDED_BY(mutex_) = true;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_SCHEDULER_H_
