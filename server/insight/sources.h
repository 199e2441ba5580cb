// Metrics whose values other parts of the server hold, read at each scrape.

#ifndef SCALPEL_SERVER_INSIGHT_SOURCES_H_
#define SCALPEL_SERVER_INSIGHT_SOURCES_H_

#include <prometheus/collectable.h>
#include <prometheus/labels.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace scalpel::insight {

// A set of functions that return the values of metrics. Thread-safe.
class Sources final : public prometheus::Collectable {
 public:
  using Read = std::function<double()>;

  // Adds a gauge. `read` is called at each scrape, on another thread; it must be thread-safe and
  // must not block. Several series may share a name if their labels differ; the first `help` is
  // used for all of them.
  void AddGauge(const std::string& name, const std::string& help, Read read,
                prometheus::Labels labels = {}) {
    Add(prometheus::MetricType::Gauge, name, help, std::move(read), std::move(labels));
  }
  // Adds a counter, whose value never decreases. The arguments are those of AddGauge.
  void AddCounter(const std::string& name, const std::string& help, Read read,
                  prometheus::Labels labels = {}) {
    Add(prometheus::MetricType::Counter, name, help, std::move(read), std::move(labels));
  }

  // Reads all values.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  struct Series {
    prometheus::Labels labels;
    Read read;
  };
  struct Family {
    prometheus::MetricType type;
    std::string name, help;
    std::vector<Series> series;
  };

  void Add(prometheus::MetricType type, const std::string& name, const std::string& help, Read read,
           prometheus::Labels labels);

  mutable absl::Mutex mutex_;
  std::vector<Family> families_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace scalpel::insight

#endif  // SCALPEL_SERVER_INSIGHT_SOURCES_H_
