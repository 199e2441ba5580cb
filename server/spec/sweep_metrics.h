// The metrics of a running sweep: its clean runs' logits are kept as far as variants are compared
// with them.

#ifndef SCALPEL_SERVER_SPEC_SWEEP_METRICS_H_
#define SCALPEL_SERVER_SPEC_SWEEP_METRICS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "proto/scalpel/v1/sweep.pb.h"
#include "server/model/tensor.h"
#include "server/spec/sweep.h"

namespace scalpel::spec {

using MetricResults = google::protobuf::RepeatedPtrField<v1::MetricResult>;

// Not thread-safe.
class SweepMetrics {
 public:
  // `clean`: the logits of the sweep's base plan, by row, as float32 on the CPU.
  SweepMetrics(std::shared_ptr<const Sweep> sweep, const std::vector<at::Tensor>& clean);

  // As SweepClean.metrics.
  MetricResults clean() const { return clean_; }

  // As VariantResult.metrics. `logits`: of a variant's plan, by row, as float32 on the CPU.
  MetricResults Measure(const std::vector<at::Tensor>& logits) const;

 private:
  class RowLogits;

  struct Prediction {             // clean, at one position of one prompt
    at::Tensor log_probs, probs;  // [vocab] double; only for kl_from_clean
    int32_t top = 0;
  };
  struct Differences {  // of logits, clean
    double prompt, source;
  };

  // Adds the metric's value in one prompt to `result`.
  void Fill(size_t metric, int32_t prompt, RowLogits& logits, v1::MetricResult* result) const;
  void MeasureClean(size_t metric, std::vector<RowLogits>& rows);
  v1::MetricResult* Add(size_t metric, int32_t prompt, MetricResults* results) const;
  void AddTopK(const v1::Metric& metric, int64_t position, RowLogits& logits,
               v1::MetricResult* result) const;

  const std::shared_ptr<const Sweep> sweep_;
  MetricResults clean_;
  std::map<std::pair<int32_t, int64_t>, Prediction> predictions_;  // by (prompt, position)
  std::map<std::pair<size_t, int32_t>, Differences> differences_;  // by (metric, prompt)
};

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_SWEEP_METRICS_H_
