// What a plan costs its caller, from the plan alone: the `Cost` of the contract, and what is
// refused for its cost or its weight.

#ifndef SCALPEL_SERVER_SPEC_COST_H_
#define SCALPEL_SERVER_SPEC_COST_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/contract/limits.h"
#include "server/spec/plan.h"

namespace scalpel::spec {

// Generous sizes of what surrounds the numbers in a message, in bytes.
inline constexpr int64_t kMessageBytes = 256;
inline constexpr int64_t kNumberBytes = 10;
inline constexpr int64_t kTokenBytes = 4 * 64;                // a decoded token with its numbers
inline constexpr int64_t kReportBytes = kMessageBytes + 128;  // of an intervention

// Rows, tokens, FLOPs, and an upper bound of the response's bytes.
v1::Cost EstimateCost(const Plan& plan, const model::Gpt2Config& config);

// FLOPs of one row, computed in full.
double EstimateRowFlops(const Plan& plan, size_t row, const model::Gpt2Config& config);
// The same of a row of which not everything is computed: so many positions of attention and of
// MLPs, over all layers together, and its logits or not.
double RowFlops(const Plan& plan, size_t row, int64_t attention, int64_t mlp, bool logits,
                const model::Gpt2Config& config);

// Upper bound of the bytes of all probes' results, captures and whole outputs.
int64_t EstimateObservationBytes(const Plan& plan);
// Of the logits that are sent.
int64_t EstimateLogitsBytes(const Plan& plan, const model::Gpt2Config& config);

// RESOURCE_EXHAUSTED with a QuotaFailure where the plan is beyond a limit: of the response, of
// memory (the plan's own, and its activations'), or of the time that observations and steps take.
absl::Status CheckCost(const Plan& plan, const Limits& limits);

// The same of memory and time alone. `extra_bytes`: of what else stays in memory while the plan
// runs. `what`: `the run` or `a variant`. `prefix`: of the paths of interventions.
absl::Status CheckWeight(const Plan& plan, int64_t extra_bytes, absl::string_view what,
                         absl::string_view prefix, const Limits& limits);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_COST_H_
