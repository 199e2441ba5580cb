// Validates the metrics of a sweep, and answers questions about valid ones.

#ifndef SCALPEL_SERVER_SPEC_METRIC_FIELDS_H_
#define SCALPEL_SERVER_SPEC_METRIC_FIELDS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "proto/scalpel/v1/sweep.pb.h"
#include "server/spec/compile.h"

namespace scalpel::spec {

using MetricList = google::protobuf::RepeatedPtrField<v1::Metric>;

// Validates the metrics against the compiled prompts, and adds violations to `c`. Fills in the
// defaults of name, position and sources, and replaces texts by token ids.
void CompileMetrics(Compilation& c, MetricList* metrics);

// ---- functions of valid metrics -----------------------------------------------------------------

// Returns how many numbers the metric has for each prompt; 0 for top_k, which has tokens instead.
int64_t NumberCount(const v1::Metric& metric);

// The position that each metric reads in a prompt of `length` tokens, counted from its start; of a
// loss, which reads all, -1.
std::vector<int64_t> MetricPositions(const MetricList& metrics, int64_t length);

// Every position that some metric reads in a prompt of `length` tokens, ascending.
std::vector<int64_t> PositionsRead(const MetricList& metrics, int64_t length);

// Returns the entry for `prompt` in a list that has one entry for all prompts, or one for each.
inline int32_t EntryFor(int32_t prompt, const google::protobuf::RepeatedField<int32_t>& list) {
  return list.size() == 1 ? list[0] : list[prompt];
}

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_METRIC_FIELDS_H_
