// What must hold of a scheduler and of each call to it, whatever else happens.

#ifndef SCALPEL_TESTS_UNIT_ENGINE_SCHEDULER_MODEL_H_
#define SCALPEL_TESTS_UNIT_ENGINE_SCHEDULER_MODEL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/engine/fault_points.h"
#include "server/engine/job.h"
#include "tests/unit/support/model_steps.h"

namespace scalpel::engine {

// A request, and what it is answered alone, by an engine without a cache.
struct Stocked {
  std::function<std::shared_ptr<Job>(std::shared_ptr<EventStream> stream)> job;
  bool sweep = false;  // its variants may come in any order
  std::vector<std::string> alone = {};
  int64_t rows = 0, tokens = 0;  // of all its tasks
  int64_t bytes = 0;             // of its response, reserved
};

// Random runs, and some sweeps.
std::vector<Stocked> MakeStock();

// A fault that one call has: from the `nth` time on that it passes the point, always or once.
struct Fault {
  FaultPoint point = FaultPoint::kPass;
  int nth = 1;
  int kind = 0;  // of test::Throw
  bool once = false;
};

// The faults of all calls, by request id. Thread-safe.
class FaultBook {
 public:
  void Add(const std::string& request_id, const Fault& fault);
  // A FaultHandler.
  void Pass(FaultPoint point, std::string_view request_id);
  bool Thrown(const std::string& request_id) const;

 private:
  struct Line {
    Fault fault;
    int passed = 0;
    bool thrown = false;
  };
  mutable absl::Mutex mutex_;
  std::map<std::string, Line, std::less<>> lines_ ABSL_GUARDED_BY(mutex_);
};

// A call that was admitted, from its caller's side: reads events, and checks them as they come.
class ModelCall {
 public:
  ModelCall(const Stocked& what, const std::string& request_id, absl::Time deadline,
            std::optional<Fault> fault);

  const std::shared_ptr<EventStream>& stream() const { return stream_; }
  const Stocked& what() const { return what_; }
  // The one time that it is asked, to submit it: the scheduler alone holds the job then.
  std::shared_ptr<Job> TakeJob() { return std::move(job_); }
  bool JobIsAlive() const { return !watched_.expired(); }

  void Cancel();
  // The scheduler was told to end all calls.
  void Abort() { aborted_ = true; }
  // Whether the scheduler may drop it from its queue.
  bool Unwanted() const { return cancelled_ || absl::Now() >= deadline_; }

  // Reads at most so many events. Says what is wrong with them, or with the end.
  test::Wrong Read(int events, const FaultBook& faults);
  bool ended() const { return end_.has_value(); }
  bool answered() const { return end_ && end_->ok() && !cancelled_; }

 private:
  test::Wrong Accept(std::string bytes);
  test::Wrong CheckEnd(const FaultBook& faults) const;

  const Stocked& what_;
  const absl::Time deadline_;
  const std::optional<Fault> fault_;
  const std::shared_ptr<EventStream> stream_;
  std::shared_ptr<Job> job_;
  const std::weak_ptr<Job> watched_;
  bool cancelled_ = false, aborted_ = false;
  size_t read_ = 0;        // events
  std::vector<bool> had_;  // by event of the answer
  std::optional<absl::Status> end_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_TESTS_UNIT_ENGINE_SCHEDULER_MODEL_H_
