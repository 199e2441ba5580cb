// What one call sends back, on its way from the engine to the wire.

#ifndef SCALPEL_SERVER_ENGINE_EVENT_STREAM_H_
#define SCALPEL_SERVER_ENGINE_EVENT_STREAM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/scalpel/v1/generate.pb.h"
#include "proto/scalpel/v1/run.pb.h"
#include "proto/scalpel/v1/sweep.pb.h"
#include "proto/scalpel/v1/tensor.pb.h"

namespace scalpel::engine {

// A step of a stream of a generation.
struct StepOf {
  int32_t stream, step;
};

// A whole tensor in memory; the wire cuts it into chunks when it is written.
struct TensorEvent {
  v1::TensorHeader header;
  std::string_view bytes;             // header.size_bytes() of them,
  std::shared_ptr<const void> owner;  // alive as long as this is
};

// One event: a tensor, an event of a sweep or of a generation, or any other message of a run.
struct Event {
  v1::RunResponse message;  // unless one of the next
  std::optional<TensorEvent> tensor;
  std::optional<v1::SweepResponse> sweep;
  std::optional<v1::GenerateResponse> generate;
  std::optional<StepOf> step;  // of a tensor: the step of a generation that it is of
};

// Takes the events of a run as they come.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void Push(Event event) = 0;
};

// A call, as far as the engine knows it: its id, how long it waits, whose clean runs it may use,
// and a queue for what it is sent. The one object of a call that the wire and the engine share.
//
// The engine (the producer) never blocks: the bytes of all events were reserved before the call was
// admitted (Scheduler::Submit), which is what bounds the queue. The call's reactor is the only
// consumer. Thread-safe.
class EventStream final : public EventSink {
 public:
  explicit EventStream(std::string request_id = "", absl::Time deadline = absl::InfiniteFuture(),
                       std::string cache_scope = "")
      : request_id_(std::move(request_id)),
        deadline_(deadline),
        cache_scope_(std::move(cache_scope)) {}

  // Names the call in the log, and in the message of an error that only the log explains.
  const std::string& request_id() const { return request_id_; }
  absl::Time deadline() const { return deadline_; }
  // Calls of one scope share what the cache of clean runs holds of them (BaselineCache).
  const std::string& cache_scope() const { return cache_scope_; }
  // OK while the call waits for more. CANCELLED after Cancel, DEADLINE_EXCEEDED after the deadline.
  absl::Status StillWanted() const;

  // Producer. Events after Close or Cancel are dropped.
  void Push(Event event) override;
  // Producer: nothing follows. `status` is the call's end. Only the first Close counts.
  void Close(absl::Status status);
  // Producer: as Close, and what is not yet read is dropped, as by Cancel. A call that has ended
  // keeps its end, and what is left to read of it.
  void Abort(absl::Status status);

  // Producer, before the consumer starts: keeps `resource` (the bytes reserved for this stream)
  // alive as long as this object.
  void Hold(std::shared_ptr<const void> resource) { held_ = std::move(resource); }

  // Consumer. The next event; nullopt: none now.
  std::optional<Event> Pop();
  // Consumer: the status given to Close, once every event has been popped; nullopt before.
  std::optional<absl::Status> End() const;
  // Consumer: `ready` is called after each Push and Close, on the producer's thread and without
  // this object's lock, and once at once. It must be thread-safe and must not block. It may still
  // be running when the consumer has seen the end, so it owns (or weakly refers to) what it uses.
  // Set at most once.
  void SetReady(std::function<void()> ready);

  // The consumer has no more use of the events: unread ones are dropped, and the engine stops
  // working on more within one layer.
  void Cancel();
  bool cancelled() const;

 private:
  const std::string request_id_;
  const absl::Time deadline_;
  const std::string cache_scope_;
  mutable absl::Mutex mutex_;
  std::deque<Event> events_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<const void> held_;
  std::shared_ptr<const std::function<void()>> ready_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_EVENT_STREAM_H_
