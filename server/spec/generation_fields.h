// What the fields of a generation may say, besides what a Run's may. Internal to the room `spec`.

#ifndef SCALPEL_SERVER_SPEC_GENERATION_FIELDS_H_
#define SCALPEL_SERVER_SPEC_GENERATION_FIELDS_H_

#include <vector>

#include "proto/scalpel/v1/generate.pb.h"
#include "server/base/violations.h"
#include "server/contract/limits.h"
#include "server/spec/compile.h"
#include "server/spec/plan.h"

namespace scalpel::spec {

// What can be checked before anything is resolved; fills in the defaults.
void CheckGenerationCounts(v1::GenerateRequest& request, const ModelFacts& facts,
                           const Limits& limits, Violations& violations);

// What depends on the prompts: their lengths, and the steps and positions of all places, which have
// been normalised.
void CheckGenerationPlaces(const v1::GenerateRequest& request, const PromptTokens& prompts,
                           const ModelFacts& facts, Violations& violations);

// Whether the positions of an intervention must be the same at every step: the operation reads
// another run or other positions, or its tensor has an entry for each.
bool NeedsFixedPositions(const v1::Intervention& intervention, v1::KvReuse reuse);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_GENERATION_FIELDS_H_
