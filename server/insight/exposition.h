// The port where metrics are read.

#ifndef SCALPEL_SERVER_INSIGHT_EXPOSITION_H_
#define SCALPEL_SERVER_INSIGHT_EXPOSITION_H_

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace scalpel::insight {

class Exposition {
 public:
  // Answers `GET /metrics` at `address`, HOST:PORT (port 0: any free one), from then on, with all
  // that the collectables hold. They live as long as this object. UNAVAILABLE: the address cannot
  // be had.
  static absl::StatusOr<std::unique_ptr<Exposition>> Open(
      const std::string& address,
      std::vector<std::shared_ptr<prometheus::Collectable>> collectables);

  // HOST:PORT with the port that was bound.
  const std::string& address() const { return address_; }

 private:
  Exposition() = default;

  std::vector<std::shared_ptr<prometheus::Collectable>> collectables_;
  std::unique_ptr<prometheus::Exposer> exposer_;  // before what it refers to
  std::string address_;
};

}  // namespace scalpel::insight

#endif  // SCALPEL_SERVER_INSIGHT_EXPOSITION_H_
