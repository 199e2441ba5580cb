#include "server/engine/event_stream.h"

#include <utility>

#include "absl/time/clock.h"

namespace scalpel::engine {

absl::Status EventStream::StillWanted() const {
  if (cancelled()) return absl::CancelledError("the caller cancelled the call");
  if (absl::Now() >= deadline_)
    return absl::DeadlineExceededError("the call's deadline has passed");
  return absl::OkStatus();
}

void EventStream::Push(Event event) {
  std::shared_ptr<const std::function<void()>> ready;
  {
    absl::MutexLock lock(&mutex_);
    if (cancelled_ || end_) return;
    events_.push_back(std::move(event));
    ready = ready_;
  }
  if (ready != nullptr) (*ready)();
}

void EventStream::Close(absl::Status status) {
  std::shared_ptr<const std::function<void()>> ready;
  {
    absl::MutexLock lock(&mutex_);
    if (end_) return;
    end_ = std::move(status);
    ready = ready_;
  }
  if (ready != nullptr) (*ready)();
}

void EventStream::Abort(absl::Status status) {
  std::deque<Event> unread;  // freed outside the lock: tensors may be large
  std::shared_ptr<const std::function<void()>> ready;
  {
    absl::MutexLock lock(&mutex_);
    if (end_) return;
    end_ = std::move(status);
    cancelled_ = true;
    unread.swap(events_);
    ready = ready_;
  }
  if (ready != nullptr) (*ready)();
}

std::optional<Event> EventStream::Pop() {
  absl::MutexLock lock(&mutex_);
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

std::optional<absl::Status> EventStream::End() const {
  absl::MutexLock lock(&mutex_);
  return events_.empty() ? end_ : std::nullopt;
}

void EventStream::SetReady(std::function<void()> ready) {
  auto shared = std::make_shared<const std::function<void()>>(std::move(ready));
  {
    absl::MutexLock lock(&mutex_);
    ready_ = shared;
  }
  (*shared)();
}

void EventStream::Cancel() {
  std::deque<Event> unread;  // freed outside the lock: tensors may be large
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  unread.swap(events_);
}

bool EventStream::cancelled() const {
  absl::MutexLock lock(&mutex_);
  return cancelled_;
}

}  // namespace scalpel::engine
