// Finds the connections that can be closed while the server drains: those on which a call was
// refused and no call is in progress.
//
// HTTP/2 has GOAWAY for this, but gRPC 1.51 sends it only from Server::Shutdown, and then answers
// calls that it has not seen yet with CANCELLED, which clients do not retry. So the server answers
// such calls with UNAVAILABLE and closes their connections afterwards: the client's next attempt
// reaches another replica.

#ifndef SCALPEL_SERVER_NET_DEPARTURES_H_
#define SCALPEL_SERVER_NET_DEPARTURES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace scalpel::net {

// A connection is identified by its peer as gRPC writes it, such as `ipv4:192.0.2.7:50123`.
// Thread-safe.
class Departures {
 public:
  // Records the begin and the end of a call that keeps its connection open. Each CallBegins must be
  // followed by one CallEnds.
  void CallBegins(const std::string& peer);
  void CallEnds(const std::string& peer);
  // Records that a call was refused because the server is draining.
  void TurnAway(const std::string& peer, absl::Time now);
  // Returns the connections that can be closed now: the refusal has had time to arrive, and no call
  // is in progress. Each refusal is reported once.
  std::vector<std::string> Due(absl::Time now);

 private:
  absl::Mutex mutex_;
  std::map<std::string, int> under_way_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, absl::Time> turned_away_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_DEPARTURES_H_
