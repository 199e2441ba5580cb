#include "server/net/departures.h"

namespace scalpel::net {
namespace {

// The time for a refusal to reach the client before the connection is closed.
constexpr absl::Duration kRefusalDelivery = absl::Milliseconds(50);

}  // namespace

void Departures::CallBegins(const std::string& peer) {
  absl::MutexLock lock(&mutex_);
  ++under_way_[peer];
}

void Departures::CallEnds(const std::string& peer) {
  absl::MutexLock lock(&mutex_);
  const auto found = under_way_.find(peer);
  if (--found->second == 0) under_way_.erase(found);
}

void Departures::TurnAway(const std::string& peer, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  turned_away_[peer] = now;
}

std::vector<std::string> Departures::Due(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> due;
  for (const auto& [peer, when] : turned_away_) {
    if (now - when >= kRefusalDelivery && !under_way_.contains(peer)) due.push_back(peer);
  }
  for (const std::string& peer : due) turned_away_.erase(peer);
  return due;
}

}  // namespace scalpel::net
