// The HTTP port that serves the metrics.

#ifndef SCALPEL_SERVER_INSIGHT_EXPOSITION_H_
#define SCALPEL_SERVER_INSIGHT_EXPOSITION_H_

#include <prometheus/collectable.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/insight/http_port.h"

namespace scalpel::insight {

// Listens on `address`, HOST:PORT (port 0: any free port), and answers `GET /metrics` in
// Prometheus' text format with the metrics of all `collectables`, which are read on another thread.
// UNAVAILABLE: the address cannot be resolved or bound.
absl::StatusOr<std::unique_ptr<HttpPort>> ExposeMetrics(
    const std::string& address, std::vector<std::shared_ptr<prometheus::Collectable>> collectables);

}  // namespace scalpel::insight

#endif  // SCALPEL_SERVER_INSIGHT_EXPOSITION_H_
