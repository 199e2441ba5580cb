// What one call asks of the engine: a Run or a Sweep.

#ifndef SCALPEL_SERVER_ENGINE_JOB_H_
#define SCALPEL_SERVER_ENGINE_JOB_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/scalpel/v1/run.pb.h"
#include "server/engine/event_stream.h"
#include "server/engine/task.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// A job gives out tasks until it has no more, and sends what becomes of them into its call's
// stream. The scheduler closes the stream.
//
// Life: shared by the scheduler and by the tasks that are under way. Threads: the virtual methods
// but response_bytes are called on the engine's thread, one at a time; the rest on any.
class Job : public std::enable_shared_from_this<Job> {
 public:
  // Where in a plan's row the first infinity or NaN arose; found by running the plan again.
  using Locator =
      absl::FunctionRef<std::optional<v1::FirstNonFinite>(const spec::Plan& plan, int32_t row)>;

  virtual ~Job() = default;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  EventStream& stream() const { return *stream_; }
  // Upper bound of what it sends; reserved before it is admitted.
  virtual int64_t response_bytes() const = 0;
  // What the keys and values that it keeps from task to task take at most; reserved as well.
  virtual int64_t kv_bytes() const { return 0; }
  // Before it is admitted: keeps `resource`, the bytes reserved for it, alive as long as this.
  void Hold(std::shared_ptr<const void> resource) { held_ = std::move(resource); }

  // The next task; nullopt: none before those given out are done, or none at all.
  virtual std::optional<Task> NextTask() = 0;
  // Whether every task has been given out and is done.
  virtual bool AllDone() const = 0;
  // After AllDone: sends the call's last events.
  virtual void Finish(Locator locate) = 0;

 protected:
  explicit Job(std::shared_ptr<EventStream> stream) : stream_(std::move(stream)) {}

  // How long it waited until `began`, its first wave, and how long it has run since.
  template <typename Finished>
  void FillTimes(absl::Time began, Finished* finished) const {
    finished->set_queue_us(absl::ToInt64Microseconds(began - created_));
    finished->set_compute_us(absl::ToInt64Microseconds(absl::Now() - began));
  }

 private:
  const std::shared_ptr<EventStream> stream_;
  const absl::Time created_ = absl::Now();
  std::shared_ptr<const void> held_;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_JOB_H_
