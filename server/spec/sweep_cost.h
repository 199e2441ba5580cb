// What a sweep costs, known before it runs.

#ifndef SCALPEL_SERVER_SPEC_SWEEP_COST_H_
#define SCALPEL_SERVER_SPEC_SWEEP_COST_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/contract/limits.h"
#include "server/spec/sweep.h"

namespace scalpel::spec {

// Sums over the variants' plans. Their clean rows are the base plan's, and count there.
struct VariantCosts {
  int64_t rows = 0;
  int64_t tokens = 0;
  double flops = 0;
  int64_t interventions = 0;
  // The index of the one that needs the most memory, and of the one whose observations and steps
  // take the longest.
  int32_t largest = 0, slowest = 0;
  int64_t bytes_max = 0;
  double seconds_max = 0;

  // `index`: of the variant.
  void Add(int32_t index, const Plan& plan, const model::Gpt2Config& config);
};

// Of the clean runs and all variants. The response's bytes are an upper bound.
v1::Cost EstimateSweepCost(const Sweep& sweep, const VariantCosts& variants,
                           const model::Gpt2Config& config);

// RESOURCE_EXHAUSTED with a QuotaFailure where the sweep is beyond a limit.
absl::Status CheckSweepCost(const Sweep& sweep, const VariantCosts& variants,
                            const model::Gpt2Config& config, const Limits& limits);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_SWEEP_COST_H_
