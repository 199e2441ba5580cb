// The operations: what becomes of the selected values.

#ifndef SCALPEL_SERVER_SPEC_OPS_H_
#define SCALPEL_SERVER_SPEC_OPS_H_

#include <cstdint>
#include <vector>

#include "proto/scalpel/v1/intervention.pb.h"
#include "server/model/tensor.h"
#include "server/spec/plan.h"
#include "server/spec/selection.h"

namespace scalpel::spec {

// What an operation works on, at one layer, site and row.
struct OperationInput {
  const v1::Intervention& intervention;  // normalised: defaults are filled in
  const SiteEntry& site;
  const Region& target;
  at::Tensor current;  // the selected values, target.shape(); not to be written to
  at::Tensor source;   // what Step::source says; undefined where the step has none
  at::Tensor operand;  // add, set, project_out: the request's tensor, on the same device
  // Coordinates of the noise.
  int32_t index;  // of the intervention
  int32_t layer;  // or model::kNoLayer
  int32_t prompt;
  int64_t inner;  // length of the last axis of the whole site: numbers a position's elements
};

// The new values, target.shape(). Does not touch its inputs.
at::Tensor Apply(const OperationInput& input);

// For a region at an attention site, bool [queries, keys] on `device`: which entries may change. At
// other sites undefined: all may. `pairs`: those of the step; null: all with key <= query.
at::Tensor ChangeMask(const SiteEntry& site, const Region& target,
                      const std::vector<AttentionPair>* pairs, at::Device device);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_OPS_H_
