#include "server/net/stall_watch.h"

#include <spdlog/spdlog.h>

namespace scalpel::net {

void WatchedCall::Forget() {
  const std::lock_guard lock(mutex_);
  forgotten_ = true;
}

void WatchedCall::CutOffIfStalled(std::chrono::nanoseconds patience) {
  const std::chrono::steady_clock::time_point since = writing_since_;
  if (since == std::chrono::steady_clock::time_point()) return;
  if (std::chrono::steady_clock::now() - since < patience) return;
  const std::lock_guard lock(mutex_);
  if (forgotten_ || writing_since_.load() != since) return;
  spdlog::warn("request={} is cancelled: its client has read nothing for {:.0f} s", request_id_,
               std::chrono::duration<double>(patience).count());
  context_->TryCancel();
}

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

std::shared_ptr<WatchedCall> StallWatch::Watch(grpc::CallbackServerContext* context,
                                               const std::string& request_id) {
  auto call = std::make_shared<WatchedCall>(context, request_id);
  const std::lock_guard lock(mutex_);
  if (calls_.size() >= tidy_at_) {
    std::erase_if(calls_, [](const auto& known) { return known.expired(); });
    tidy_at_ = 2 * calls_.size() + 16;
  }
  calls_.push_back(call);
  return call;
}

void StallWatch::Run() {
  std::unique_lock lock(mutex_);
  while (!woken_.wait_for(lock, patience_ / 4, [this] { return stopping_; })) {
    const std::vector<std::weak_ptr<WatchedCall>> calls = calls_;
    lock.unlock();  // not held while gRPC is called
    for (const std::weak_ptr<WatchedCall>& call : calls) {
      if (const auto alive = call.lock()) alive->CutOffIfStalled(patience_);
    }
    lock.lock();
  }
}

}  // namespace scalpel::net
