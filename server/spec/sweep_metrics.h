// Computes the metrics of a running sweep.

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

// Keeps of the clean runs' logits only what variants are compared with. Not thread-safe.
class SweepMetrics {
 public:
  // `clean`: the logits of the sweep's base plan for each of its rows, [positions, vocab] float32
  // on the CPU.
  SweepMetrics(std::shared_ptr<const Sweep> sweep, const std::vector<at::Tensor>& clean);

  // Returns the metrics of the clean runs, for SweepClean.metrics.
  MetricResults clean() const { return clean_; }

  // Returns the metrics of a variant, for VariantResult.metrics. `logits`: those of the variant's
  // plan for each of its rows, [positions, vocab] float32 on the CPU.
  MetricResults Measure(const std::vector<at::Tensor>& logits) const;

 private:
  class RowLogits;

  // The clean run's prediction at one position of one prompt.
  struct Prediction {
    at::Tensor log_probs, probs;  // [vocab] double; only for kl_from_clean
    int32_t top = 0;              // the most probable id
  };
  // The clean runs' logit differences of a patching score.
  struct Differences {
    double prompt, source;
  };

  // Adds the metric's values for one prompt to `result`.
  void Fill(size_t metric, int32_t prompt, RowLogits& logits, v1::MetricResult* result) const;
  // Computes one metric of the clean runs, and keeps what variants are compared with.
  void MeasureClean(size_t metric, std::vector<RowLogits>& rows);
  // Appends an empty result for a metric and a prompt to `results`.
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
