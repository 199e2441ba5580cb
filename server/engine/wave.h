// One pass of the model over the rows of many tasks.

#ifndef SCALPEL_SERVER_ENGINE_WAVE_H_
#define SCALPEL_SERVER_ENGINE_WAVE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/counts.h"
#include "server/engine/work.h"
#include "server/model/gpt2.h"

namespace scalpel::engine {

// A task, the call that it belongs to, and what it has to compute.
struct Member {
  std::shared_ptr<Work> work;
  std::unique_ptr<Task> task;
  std::vector<model::Row> rows;  // by row of the plan
  int64_t tokens = 0;            // positions of them that will be computed in any layer
};

// Fills in what the cache knows of the task's clean runs, and what is left to compute. Of clean
// runs that are computed anew, at most `record_bytes_max` are kept.
Member MakeMember(std::shared_ptr<Work> work, std::unique_ptr<Task> task,
                  const model::Gpt2Config& config, BaselineCache& cache, int64_t record_bytes_max);

// Runs the tasks and hands each to its work's Done. Tasks whose work nobody wants any more leave
// within one layer; their work is not told, and they are not counted. Throws what libtorch throws.
WaveCounts RunWave(const model::Gpt2& gpt2, BaselineCache& cache, std::vector<Member>& members);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_WAVE_H_
