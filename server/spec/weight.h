// What a plan weighs, from the plan alone: the memory and the time that carrying it out takes. The
// basis of what is admitted, and of what shares a pass.

#ifndef SCALPEL_SERVER_SPEC_WEIGHT_H_
#define SCALPEL_SERVER_SPEC_WEIGHT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "server/model/config.h"
#include "server/spec/plan.h"

namespace scalpel::spec {

// Bytes of the plan itself. What its parts share (regions, lists of indices) counts once.
int64_t PlanBytes(const Plan& plan);

// Upper bound of the memory that the forward pass takes beside the weights, the plan and the
// response that waits for its reader: activations, what steps and observations make in passing, and
// the numbers of a layer's probes until they leave.
int64_t EstimateActivationBytes(const Plan& plan, const model::Gpt2Config& config);

// The field that takes the most of a plan's observation_seconds, such as `probes[3]`.
struct HeaviestField {
  std::string field = {};
  double seconds = 0;
};
// `prefix`: of the paths of interventions.
HeaviestField FindHeaviestField(const Plan& plan, absl::string_view prefix);

// ---- constants of time: see weight.cc for how they were measured -------------------------------

// Of an element that an edit changes, with the account of what it did; and where it is noise.
inline constexpr double kEditNs = 4.5;
inline constexpr double kNoiseNs = 23;
// Of a position of the smallest model.
inline constexpr double kPositionSecondsMin = 20e-6;

// Fills in plan.weight. Everything else is complete.
void Weigh(const model::Gpt2Config& config, Plan& plan);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_WEIGHT_H_
