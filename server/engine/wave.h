// One pass of the model over the rows of many tasks.

#ifndef SCALPEL_SERVER_ENGINE_WAVE_H_
#define SCALPEL_SERVER_ENGINE_WAVE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/counts.h"
#include "server/engine/job.h"
#include "server/engine/task.h"
#include "server/model/gpt2.h"

namespace scalpel::engine {

// The tasks that share a pass. Each has been prepared.
using Wave = std::vector<Task>;

// The jobs whose tasks these are, each once.
std::vector<std::shared_ptr<Job>> JobsOf(const Wave& wave);
// Their request ids, for the log.
std::string RequestIdsOf(const Wave& wave);

// What is to run again of a wave that failed: tasks with a failure of their own alone; and, if all
// failed together, the others in two halves.
struct FailedParts {
  std::vector<Wave> halves, alone;
};
FailedParts SplitFailed(Wave wave, bool all);

// Runs the tasks. In the end each of them is done; or its call does not wait any more, and it left
// within one layer, and is not counted; or it has a `failure`, which is its own.
//
// `pause` is called after each layer, before each step and observation, and wherever else a task
// may take long. Other waves may run in it.
//
// Throws what is thrown in the part that all share: then each task that is not done has failed.
WaveCounts RunWave(const model::Gpt2& gpt2, BaselineCache& cache, Wave& wave,
                   absl::FunctionRef<void()> pause);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_WAVE_H_
