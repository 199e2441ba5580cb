// What calls come to, as Prometheus metrics.

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
  absl::string_view code;             // such as `OK`
  std::optional<Reason> reason = {};  // nullopt: it was not refused
  absl::Duration total = absl::ZeroDuration();
  bool computed = false;  // to its end: `queue`, `compute` and `tokens` are known
  absl::Duration queue = absl::ZeroDuration(), compute = absl::ZeroDuration();
  int64_t tokens = 0;
  int64_t response_bytes = 0;  // written, as messages
  int64_t tensor_bytes = 0;    // of them the data of tensors
  bool slow = false;
};

// Thread-safe.
class Metrics {
 public:
  // `methods`: all that will be named.
  explicit Metrics(absl::Span<const absl::string_view> methods);

  void CallBegan(absl::string_view method);
  void CallEnded(const CallEnd& end);
  // By ReasonWord, each of AllReasons.
  std::map<std::string, int64_t> Rejections() const;

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

 private:
  // Of one method.
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
