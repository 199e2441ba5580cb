// What a sweep's metrics say: checked, and read.

#ifndef SCALPEL_SERVER_SPEC_METRIC_FIELDS_H_
#define SCALPEL_SERVER_SPEC_METRIC_FIELDS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "proto/scalpel/v1/sweep.pb.h"
#include "server/spec/compile.h"

namespace scalpel::spec {

using MetricList = google::protobuf::RepeatedPtrField<v1::Metric>;

// Validates the metrics against the prompts, and fills in names, positions and sources.
void CompileMetrics(Compilation& c, MetricList* metrics);

// ---- of metrics that passed ---------------------------------------------------------------------

// Numbers that the metric has for each prompt; 0 for top_k.
int64_t NumberCount(const v1::Metric& metric);

// The position that each metric reads in a prompt of `length` tokens, counted from its start; of a
// loss, which reads all, -1.
std::vector<int64_t> MetricPositions(const MetricList& metrics, int64_t length);

// Every position that some metric reads in a prompt of `length` tokens, ascending.
std::vector<int64_t> PositionsRead(const MetricList& metrics, int64_t length);

// The entry for `prompt` of a list that has one for all prompts, or one for each.
inline int32_t EntryFor(int32_t prompt, const google::protobuf::RepeatedField<int32_t>& list) {
  return list.size() == 1 ? list[0] : list[prompt];
}

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_METRIC_FIELDS_H_
