// Admission, the queue, waves, and the one thread that owns the device.

#ifndef SCALPEL_SERVER_ENGINE_SCHEDULER_H_
#define SCALPEL_SERVER_ENGINE_SCHEDULER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/base/limits.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/counts.h"
#include "server/engine/event_stream.h"
#include "server/engine/job.h"
#include "server/engine/wave.h"
#include "server/engine/work.h"
#include "server/model/gpt2.h"

namespace scalpel::engine {

// Thread-safe.
class Scheduler {
 public:
  // Starts the engine's thread. `gpt2` outlives this object. `device_failed` is called once, on the
  // engine's thread, if the device fails for good: a GPU's error stays until its process ends.
  Scheduler(const model::Gpt2& gpt2, const Limits& limits,
            std::function<void()> device_failed = nullptr);
  // Cancels what is left, and joins.
  ~Scheduler();

  // Takes the work, or refuses it at once; never blocks. It is closed with OK, DEADLINE_EXCEEDED,
  // CANCELLED or INTERNAL when it is done. `response_bytes` stay reserved until `stream`, where it
  // sends its events, is destroyed. Errors: RESOURCE_EXHAUSTED with RetryInfo (queue full, too many
  // bytes waiting for readers); UNAVAILABLE (draining, or the device has failed).
  absl::Status Submit(std::shared_ptr<Work> work, EventStream& stream, int64_t response_bytes);
  // A Run or a Sweep.
  absl::Status Submit(Job job);

  // Refuses new work from now on.
  void StopAdmission();
  // Waits until no work is queued or running; false: `timeout` passed first.
  bool WaitIdle(absl::Duration timeout);
  // Of the cache of clean runs, as the last wave left it.
  BaselineCache::Counts cache_counts() const;
  Counts counts() const;

  // Aborts all work, queued and running, with UNAVAILABLE.
  void CancelAll();

 private:
  struct Live {  // work that is not done
    std::shared_ptr<Work> work;
    bool started = false;        // it has had a task in a wave
    std::optional<Member> held;  // its next task, which the last wave had no room for
  };

  void Loop();
  // Tasks for the next wave, waiting for some; empty: stop.
  std::vector<Member> NextWave(BaselineCache& cache);
  // Takes tasks of all work in turn, one each, as long as there is room.
  std::vector<Member> FillWave(BaselineCache& cache) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Runs the wave, and counts it; how it failed, if it did. Holds the only try/catch around
  // libtorch.
  absl::Status Run(BaselineCache& cache, std::vector<Member>& members);
  // Before the calls end, so that whoever has an answer finds it counted.
  void Count(const WaveCounts& wave, absl::Duration busy, const BaselineCache& cache);
  // Closes the wave's work that is done, or that nobody waits for, or all of it if the wave failed.
  void Settle(const std::vector<Member>& members, const absl::Status& failure);
  void AbortAll(const absl::Status& status);
  // Nothing can be computed any more: refuses new work, aborts all that waits, and says so.
  void FailDevice();
  // Takes what nobody waits for off the list. It is to be closed without the lock.
  std::vector<std::shared_ptr<Work>> TakeUnwanted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Work that has not started.
  int64_t Waiting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const model::Gpt2& gpt2_;
  const Limits limits_;
  const std::function<void()> device_failed_;
  // Bytes of responses that are not yet read, over all streams. Streams outlive the scheduler, and
  // so must this.
  const std::shared_ptr<std::atomic<int64_t>> buffered_bytes_ =
      std::make_shared<std::atomic<int64_t>>(0);
  mutable absl::Mutex mutex_;
  // In the order of their turns.
  std::deque<Live> works_ ABSL_GUARDED_BY(mutex_);
  bool running_ ABSL_GUARDED_BY(mutex_) = false;  // a wave
  BaselineCache::Counts cache_counts_ ABSL_GUARDED_BY(mutex_);
  Counts counts_ ABSL_GUARDED_BY(mutex_);           // since the start
  absl::Status admission_ ABSL_GUARDED_BY(mutex_);  // OK, or why new work is refused
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_SCHEDULER_H_
