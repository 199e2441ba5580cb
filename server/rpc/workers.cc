#include "server/rpc/workers.h"

#include <algorithm>
#include <utility>

namespace scalpel::rpc {

Workers::Workers(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

Workers::~Workers() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

void Workers::Post(absl::string_view peer, std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  auto found = std::find_if(peers_.begin(), peers_.end(),
                            [peer](const Peer& other) { return other.name == peer; });
  if (found == peers_.end()) found = peers_.insert(found, Peer{std::string(peer), {}});
  found->work.push_back(std::move(work));
}

void Workers::Run() {
  while (true) {
    std::function<void()> work;
    {
      absl::MutexLock lock(&mutex_);
      const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return !peers_.empty() || stopping_;
      };
      mutex_.Await(absl::Condition(&ready));
      if (stopping_) return;
      Peer peer = std::move(peers_.front());
      peers_.pop_front();
      work = std::move(peer.work.front());
      peer.work.pop_front();
      if (!peer.work.empty()) peers_.push_back(std::move(peer));
    }
    work();
  }
}

}  // namespace scalpel::rpc
