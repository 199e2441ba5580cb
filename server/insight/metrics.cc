#include "server/insight/metrics.h"

namespace scalpel::insight {
namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;

// The buckets span a millisecond, for a tokenization, to ten minutes, for a sweep of ten thousand
// variants.
const Histogram::BucketBoundaries& Seconds() {
  static const auto* const kBounds =
      new Histogram::BucketBoundaries{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                      1,     2.5,    5,     10,   30,    60,   120, 300,  600};
  return *kBounds;
}

prometheus::Family<Counter>& CounterFamily(prometheus::Registry& registry, const char* name,
                                           const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

prometheus::Family<Histogram>& HistogramFamily(prometheus::Registry& registry, const char* name,
                                               const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

}  // namespace

Metrics::Metrics(absl::Span<const absl::string_view> methods)
    : registry_(std::make_shared<prometheus::Registry>()),
      calls_(CounterFamily(*registry_, "scalpel_calls_total",
                           "Calls that ended, by method and status code.")) {
  prometheus::Registry& registry = *registry_;
  auto& in_progress = prometheus::BuildGauge()
                          .Name("scalpel_calls_in_progress")
                          .Help("Calls that have begun and not ended.")
                          .Register(registry);
  auto& duration = HistogramFamily(registry, "scalpel_call_duration_seconds",
                                   "Time from the arrival of a call to its last byte.");
  auto& queue =
      HistogramFamily(registry, "scalpel_call_queue_duration_seconds",
                      "Time that calls waited for the engine, of those that it finished.");
  auto& compute = HistogramFamily(registry, "scalpel_call_compute_duration_seconds",
                                  "Time from the start of a call's computation to its end.");
  auto& slow = CounterFamily(registry, "scalpel_slow_calls_total",
                             "Calls that took longer than --slow-call-ms.");
  auto& tokens = CounterFamily(registry, "scalpel_call_tokens_total",
                               "Tokens computed for calls that the engine finished.");
  auto& response_bytes = CounterFamily(registry, "scalpel_response_bytes_total",
                                       "Bytes of response messages written.");
  auto& tensor_bytes =
      CounterFamily(registry, "scalpel_tensor_bytes_total", "Bytes of tensor data written.");
  for (const absl::string_view name : methods) {
    const prometheus::Labels label = {{"method", std::string(name)}};
    calls_.Add({{"method", std::string(name)}, {"code", "OK"}});
    methods_.emplace(
        std::string(name),
        Method{in_progress.Add(label), duration.Add(label, Seconds()), queue.Add(label, Seconds()),
               compute.Add(label, Seconds()), slow.Add(label), tokens.Add(label),
               response_bytes.Add(label), tensor_bytes.Add(label)});
  }
  auto& rejections =
      CounterFamily(registry, "scalpel_rejections_total", "Calls refused, by reason.");
  for (const Reason reason : AllReasons()) {
    const std::string word(ReasonWord(reason));
    rejections_[word] = &rejections.Add({{"reason", word}});
  }
}

void Metrics::CallBegan(absl::string_view method) { methods_.at(method).in_progress.Increment(); }

void Metrics::CallEnded(const CallEnd& end) {
  const Method& method = methods_.at(end.method);
  method.in_progress.Decrement();
  calls_.Add({{"method", std::string(end.method)}, {"code", std::string(end.code)}}).Increment();
  method.duration.Observe(absl::ToDoubleSeconds(end.total));
  method.response_bytes.Increment(static_cast<double>(end.response_bytes));
  method.tensor_bytes.Increment(static_cast<double>(end.tensor_bytes));
  if (end.slow) method.slow.Increment();
  if (end.reason) rejections_.at(std::string(ReasonWord(*end.reason)))->Increment();
  if (!end.computed) return;
  method.queue.Observe(absl::ToDoubleSeconds(end.queue));
  method.compute.Observe(absl::ToDoubleSeconds(end.compute));
  method.tokens.Increment(static_cast<double>(end.tokens));
}

std::map<std::string, int64_t> Metrics::Rejections() const {
  std::map<std::string, int64_t> counts;
  for (const auto& [reason, counter] : rejections_)
    counts[reason] = static_cast<int64_t>(counter->Value());
  return counts;
}

}  // namespace scalpel::insight
