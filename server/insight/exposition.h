// The HTTP port that serves the metrics.

#ifndef SCALPEL_SERVER_INSIGHT_EXPOSITION_H_
#define SCALPEL_SERVER_INSIGHT_EXPOSITION_H_

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace scalpel::insight {

// Serves metrics until it is destroyed.
class Exposition {
 public:
  // Listens on `address`, HOST:PORT (port 0: any free port), and answers `GET /metrics` with the
  // metrics of all `collectables`, which are read on other threads. UNAVAILABLE: the address cannot
  // be bound.
  static absl::StatusOr<std::unique_ptr<Exposition>> Open(
      const std::string& address,
      std::vector<std::shared_ptr<prometheus::Collectable>> collectables);

  // Returns HOST:PORT with the bound port.
  const std::string& address() const { return address_; }

 private:
  Exposition() = default;

  std::vector<std::shared_ptr<prometheus::Collectable>> collectables_;
  std::unique_ptr<prometheus::Exposer> exposer_;  // refers to collectables_, so destroyed first
  std::string address_;
};

}  // namespace scalpel::insight

#endif  // SCALPEL_SERVER_INSIGHT_EXPOSITION_H_
