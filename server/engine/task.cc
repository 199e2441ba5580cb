#include "server/engine/task.h"

#include "server/engine/cone.h"
#include "server/engine/job.h"

namespace scalpel::engine {

void Prepare(Task& task, const model::Gpt2Config& config, BaselineCache& cache,
             int64_t record_bytes_max) {
  const std::string& scope = task.job->stream().cache_scope();
  task.clean.resize(task.plan->rows.size());
  for (size_t row = 0; row < task.clean.size(); ++row) {
    if (task.clean[row] == nullptr) task.clean[row] = cache.Find(scope, task.plan->tokens[row]);
  }
  const bool keeps = cache.enabled() || task.keeps_clean;
  task.rows = Cones(*task.plan, config, task.clean, keeps ? record_bytes_max : 0);
  task.tokens = task.plan->weight.observation_positions;
  for (const model::Row& row : task.rows) {
    if (!row.stops.empty()) task.tokens += static_cast<int64_t>(row.tokens.size()) - row.first;
  }
}

}  // namespace scalpel::engine
