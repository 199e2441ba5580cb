// Prometheus metrics of calls.

#ifndef SCALPEL_SERVER_INSIGHT_METRICS_H_
#define SCALPEL_SERVER_INSIGHT_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/errors.h"

namespace scalpel::insight {

// How a call ended.
struct CallEnd {
  absl::string_view method;
  absl::string_view code;             // name of the status code, such as `OK`
  std::optional<Reason> reason = {};  // why it was refused; nullopt if it was not
  absl::Duration total = absl::ZeroDuration();
  bool computed = false;  // the engine finished the call: `queue`, `compute` and `tokens` are set
  absl::Duration queue = absl::ZeroDuration(), compute = absl::ZeroDuration();
  int64_t tokens = 0;          // computed
  int64_t response_bytes = 0;  // size of the messages written
  int64_t tensor_bytes = 0;    // size of the tensor data in them
  bool slow = false;           // took longer than --slow-call-ms
};

// Counts calls. Thread-safe.
class Metrics {
 public:
  // `methods`: all names that later calls may pass as `method`.
  explicit Metrics(absl::Span<const absl::string_view> methods);

  // Counts a call of `method`. Each CallBegan must be followed by one CallEnded.
  void CallBegan(absl::string_view method);
  void CallEnded(const CallEnd& end);
  // Returns the number of refused calls by ReasonWord, with an entry for each reason.
  std::map<std::string, int64_t> Rejections() const;

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

 private:
  // The metrics of one method.
  struct Method {
    prometheus::Gauge& in_progress;
    prometheus::Histogram& duration;
    prometheus::Histogram& queue;
    prometheus::Histogram& compute;
    prometheus::Counter& slow;
    prometheus::Counter& tokens;
    prometheus::Counter& response_bytes;
    prometheus::Counter& tensor_bytes;
  };

  const std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Counter>& calls_;  // by method and code
  absl::flat_hash_map<std::string, Method> methods_;
  std::map<std::string, prometheus::Counter*> rejections_;
};

}  // namespace scalpel::insight

#endif  // SCALPEL_SERVER_INSIGHT_METRICS_H_
