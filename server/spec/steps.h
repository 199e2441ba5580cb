// The steps of a generation: which of them a place selects, and what of it lies in one of them. A
// step is compiled as a Run of the sequence so far, in which every place is narrowed to the
// positions that the step computes. Internal to the room `spec`.

#ifndef SCALPEL_SERVER_SPEC_STEPS_H_
#define SCALPEL_SERVER_SPEC_STEPS_H_

#include <cstdint>

#include "absl/types/span.h"
#include "proto/scalpel/v1/intervention.pb.h"
#include "proto/scalpel/v1/place.pb.h"

namespace scalpel::spec {

// A step, and the sequence as it is at that step.
struct StepView {
  int32_t prompt;  // by index in the request
  int32_t step;
  absl::Span<const int32_t> tokens;  // the prompt's, then `step` new ones
  int64_t first;                     // the first position that the step computes; all behind it are
};

// Whether `steps` of the selection selects the step. The range has been checked.
bool SelectsStep(const v1::Selection& where, int32_t step);

// Narrows the selection to the positions that the step computes, in the order that was said, and
// its keys to those that exist, and takes `steps` out. False: nothing of it lies in the step.
bool NarrowSelection(v1::Selection* where, const StepView& view);

// As NarrowSelection, for the place and the pairs of an intervention, and for what it reads.
bool NarrowIntervention(v1::Intervention* intervention, const StepView& view);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_STEPS_H_
