// One pass of the model over the rows of a job.

#ifndef SCALPEL_SERVER_ENGINE_WAVE_H_
#define SCALPEL_SERVER_ENGINE_WAVE_H_

#include "absl/status/status.h"
#include "server/engine/job.h"
#include "server/model/gpt2.h"

namespace scalpel::engine {

// Runs the job and pushes its events, `finished` last. Returns how its stream ends: OK; CANCELLED
// or DEADLINE_EXCEEDED, noticed before the first layer and after each. Throws what libtorch throws.
absl::Status RunWave(const model::Gpt2& gpt2, const Job& job);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_WAVE_H_
