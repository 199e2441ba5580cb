#include "server/insight/exposition.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <iterator>
#include <utility>

namespace scalpel::insight {

absl::StatusOr<std::unique_ptr<HttpPort>> ExposeMetrics(
    const std::string& address,
    std::vector<std::shared_ptr<prometheus::Collectable>> collectables) {
  const auto read = [collectables = std::move(collectables)] {
    std::vector<prometheus::MetricFamily> families;
    for (const auto& collectable : collectables) {
      std::vector<prometheus::MetricFamily> more = collectable->Collect();
      families.insert(families.end(), std::make_move_iterator(more.begin()),
                      std::make_move_iterator(more.end()));
    }
    return prometheus::TextSerializer().Serialize(families);
  };
  return HttpPort::Open(address, {.path = "/metrics",
                                  .content_type = "text/plain; version=0.0.4; charset=utf-8",
                                  .read = read});
}

}  // namespace scalpel::insight
