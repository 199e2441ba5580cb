// One pass of the model over the rows of many tasks.

#ifndef SCALPEL_SERVER_ENGINE_WAVE_H_
#define SCALPEL_SERVER_ENGINE_WAVE_H_

#include <vector>

#include "server/engine/baseline_cache.h"
#include "server/engine/counts.h"
#include "server/engine/task.h"
#include "server/model/gpt2.h"

namespace scalpel::engine {

// The tasks that share a pass. Each has been prepared.
using Wave = std::vector<Task>;

// Runs the tasks. In the end each of them is done; or its call does not wait any more, and it left
// within one layer, and is not counted; or it has a `failure`, which is its own.
//
// Throws what is thrown in the part that all share: then each task that is not done has failed.
WaveCounts RunWave(const model::Gpt2& gpt2, BaselineCache& cache, Wave& wave);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_WAVE_H_
