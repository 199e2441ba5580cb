// Numbers that other parts of the server count themselves, read when somebody looks.

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

// Thread-safe.
class Sources final : public prometheus::Collectable {
 public:
  using Read = std::function<double()>;

  // `read` is called at each scrape, on another thread, and must not block. Series of one name have
  // labels that tell them apart; `help` is the first one's.
  void AddGauge(const std::string& name, const std::string& help, Read read,
                prometheus::Labels labels = {}) {
    Add(prometheus::MetricType::Gauge, name, help, std::move(read), std::move(labels));
  }
  // The same of what only grows.
  void AddCounter(const std::string& name, const std::string& help, Read read,
                  prometheus::Labels labels = {}) {
    Add(prometheus::MetricType::Counter, name, help, std::move(read), std::move(labels));
  }

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
