// Admission, the queue, and the one thread that owns the device.

#ifndef SCALPEL_SERVER_ENGINE_SCHEDULER_H_
#define SCALPEL_SERVER_ENGINE_SCHEDULER_H_

#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/contract/limits.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/byte_budget.h"
#include "server/engine/counts.h"
#include "server/engine/job.h"
#include "server/engine/turns.h"
#include "server/engine/wave.h"
#include "server/model/gpt2.h"

namespace scalpel::engine {

// Runs jobs. Each wave takes tasks of all jobs in turn, one each, as long as there is room; so a
// long sweep delays a run by one wave at most. A task that fills more than a wave is interrupted,
// between layers and between its observations, for waves of lighter tasks, which take at most half
// of the time while it runs.
//
// Fate is not shared: if a wave fails, its tasks run again in smaller waves, and only the job of a
// task that fails alone ends with an error. No event is sent twice.
//
// Thread-safe. Only WaitIdle and the destructor wait for the model, or for a plan that is being
// compiled.
class Scheduler {
 public:
  // Starts the engine's thread. `gpt2` outlives this object. `device_failed` is called once, on the
  // engine's thread, if the device fails for good: a GPU's error stays until its process ends.
  Scheduler(const model::Gpt2& gpt2, const Limits& limits,
            std::function<void()> device_failed = nullptr);
  // Cancels what is left, and joins.
  ~Scheduler();

  // Takes the job, or refuses it at once; never blocks. When the job is over, its stream is closed:
  // OK; DEADLINE_EXCEEDED; CANCELLED; RESOURCE_EXHAUSTED (memory ran out); INTERNAL. The bytes of
  // its response stay reserved until its stream is destroyed, and those of its keys and values
  // until it is over.
  //
  // Errors: RESOURCE_EXHAUSTED with RetryInfo (the queue is full, too many bytes wait for their
  // readers, or too many are kept for keys and values); UNAVAILABLE (draining, or the device has
  // failed).
  absl::Status Submit(std::shared_ptr<Job> job);
  // Why Submit would refuse any job now; OK if it might take one. So that no time is spent on a
  // request, while there are too many of them, only to refuse it.
  absl::Status Admission();

  // Refuses new jobs from now on.
  void StopAdmission();
  // Waits until no job is queued or running; false: `timeout` passed first.
  bool WaitIdle(absl::Duration timeout);
  // Ends all jobs, queued and running, with UNAVAILABLE. What is not yet read is dropped.
  void CancelAll();

  // Of the cache of clean runs, as the last wave left it.
  BaselineCache::Counts cache_counts() const;
  EngineCounts counts() const;

 private:
  struct Entry {  // a job that is not over
    Turn turn;
    bool started = false;  // it has had a task in a wave
  };
  using Jobs = std::vector<std::shared_ptr<Job>>;
  using Endings = std::vector<std::pair<std::shared_ptr<Job>, absl::Status>>;

  // ---- the engine's thread ----

  void Loop();
  // Waits for something to do; empty: stop.
  Wave NextWave();
  // The next of the waves that failed as a part of a larger one; empty: there is none.
  Wave NextRetry();
  void PrepareTask(Task& task);
  // Fills a wave in these turns. Without the lock: plans are compiled here.
  Wave Fill(Turns turns, bool light_only);
  // Takes note of the turns.
  void Turned(Turns turns, const Wave& wave);
  // Runs the wave; sends what failed of it to run again; ends jobs that are over.
  void Run(Wave wave);
  // Is called often while a heavy task runs: lets light ones in, if it is time.
  void Pause();
  // `shared`: what all tasks of the wave failed with that have no failure of their own.
  void Retry(Wave wave, const std::exception_ptr& shared, Endings* endings);
  // Lets the job send its last events. Returns the call's end.
  absl::Status FinishJob(Job& job);
  // Says in the log why the job failed. Returns the call's end.
  absl::Status Fail(const Job& job, const std::exception_ptr& failure);
  // The jobs are over.
  void End(const Endings& endings);
  // Nothing can be computed any more: refuses new jobs, aborts all that there are, and says so.
  void FailDevice(const std::exception_ptr& failure);

  // ---- any thread ----

  void AbortAll(const absl::Status& status);
  // Before calls end, so that who has an answer finds it counted.
  void Count(const WaveCounts& wave, absl::Duration busy);
  // The jobs in the order of their turns, without those that TakeUnwanted took.
  Turns TakeTurns() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // As Admission. Takes jobs off the list whose calls do not wait any more, where others need their
  // places; they are to be closed without the lock.
  absl::Status CheckPlace(Jobs* unwanted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes jobs off the list whose calls do not wait any more. They are to be closed without the
  // lock.
  Jobs TakeUnwanted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Jobs that have not started.
  int64_t Waiting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const model::Gpt2& gpt2_;
  const Limits limits_;
  const std::function<void()> device_failed_;
  ByteBudget buffered_bytes_;  // of responses that are not yet read, over all streams
  ByteBudget kv_bytes_;        // of keys and values that jobs keep

  // Of the engine's thread.
  BaselineCache cache_;
  std::deque<Wave> retries_;
  bool in_interlude_ = false;  // light tasks run while a heavy one waits
  absl::Time next_interlude_ = absl::InfinitePast();
  absl::Duration interludes_;  // the time of all of them

  mutable absl::Mutex mutex_;
  std::deque<Entry> jobs_ ABSL_GUARDED_BY(mutex_);  // in the order of their turns
  bool running_ ABSL_GUARDED_BY(mutex_) = false;    // the engine's thread is busy
  BaselineCache::Counts cache_counts_ ABSL_GUARDED_BY(mutex_);
  EngineCounts counts_ ABSL_GUARDED_BY(mutex_);     // since the start
  absl::Status admission_ ABSL_GUARDED_BY(mutex_);  // OK, or why new jobs are refused
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_SCHEDULER_H_
