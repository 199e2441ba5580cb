// While the server leaves: which connections can go, because a call on them was turned away and no
// call is under way there that the server still serves.
//
// The usual word for it is HTTP/2's GOAWAY, which gRPC 1.51 sends only from Server::Shutdown; from
// then on it answers calls that it had not yet heard of with CANCELLED, which no client tries
// again. So the server goes on saying UNAVAILABLE, and ends the connection afterwards: the client's
// next attempt goes to another replica.

#ifndef SCALPEL_SERVER_NET_DEPARTURES_H_
#define SCALPEL_SERVER_NET_DEPARTURES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace scalpel::net {

// Connections are known by what gRPC calls the peer. Thread-safe.
class Departures {
 public:
  // A call that may take long begins and ends.
  void CallBegins(const std::string& peer);
  void CallEnds(const std::string& peer);
  // A call was refused because the server leaves.
  void TurnAway(const std::string& peer, absl::Time now);
  // Connections that can go now, since the refusal has had time to arrive; each is named once.
  std::vector<std::string> Due(absl::Time now);

 private:
  absl::Mutex mutex_;
  std::map<std::string, int> under_way_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, absl::Time> turned_away_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_DEPARTURES_H_
