// The operations: what becomes of the selected values. A new operation is a message in the proto's
// oneof, a function here, and its validation in interventions.cc.

#ifndef SCALPEL_SERVER_SPEC_OPS_H_
#define SCALPEL_SERVER_SPEC_OPS_H_

#include <ATen/ATen.h>

#include <cstdint>

#include "proto/scalpel/v1/spec.pb.h"
#include "server/spec/selection.h"

namespace scalpel::spec {

// False for operations that are defined in the proto and answered with UNIMPLEMENTED.
bool OperationImplemented(v1::Intervention::OperationCase operation);

// What an operation works on, at one layer, site and row.
struct OperationInput {
  const v1::Intervention& intervention;  // normalised: defaults are filled in
  const SiteEntry& site;
  const Region& target;
  at::Tensor current;  // the selected values, target.shape(); not to be written to
  at::Tensor source;   // mean: the values averaged over. patch: the values read
  at::Tensor operand;  // add, set, project_out: the request's tensor, on the same device
  // Coordinates of the noise.
  int32_t index;  // of the intervention
  int32_t layer;  // or model::kNoLayer
  int32_t prompt;
  int64_t inner;  // length of the last axis of the whole site: numbers a position's elements
};

// The new values, target.shape(). Does not touch its inputs.
at::Tensor Apply(const OperationInput& input);

// For a region at ATTN_SCORES or PATTERN, bool [queries, keys]: which entries the intervention may
// change. Undefined at other sites, where it may change all.
at::Tensor ChangeMask(const v1::Intervention& intervention, const SiteEntry& site,
                      const Region& target, int64_t length, at::Device device);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_OPS_H_
