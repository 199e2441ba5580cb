#include "server/rpc/stall_watch.h"

#include <utility>

namespace scalpel::rpc {

StallWatch::StallWatch(absl::Duration patience)
    : patience_(absl::ToChronoNanoseconds(patience)), thread_([this] { Run(); }) {}

StallWatch::~StallWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  woken_.notify_all();
  thread_.join();
}

void StallWatch::Add(std::weak_ptr<ResponseStream> stream) {
  const std::lock_guard lock(mutex_);
  if (streams_.size() >= tidy_at_) {
    std::erase_if(streams_, [](const auto& known) { return known.expired(); });
    tidy_at_ = 2 * streams_.size() + 16;
  }
  streams_.push_back(std::move(stream));
}

void StallWatch::Run() {
  std::unique_lock lock(mutex_);
  while (!woken_.wait_for(lock, patience_ / 4, [this] { return stopping_; })) {
    const std::vector<std::weak_ptr<ResponseStream>> streams = streams_;
    lock.unlock();  // gRPC is called
    for (const std::weak_ptr<ResponseStream>& stream : streams) {
      if (const auto alive = stream.lock()) alive->CutOffIfStalled(patience_);
    }
    lock.lock();
  }
}

}  // namespace scalpel::rpc
