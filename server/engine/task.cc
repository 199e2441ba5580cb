#include "server/engine/task.h"

#include "server/engine/cone.h"
#include "server/engine/job.h"

namespace scalpel::engine {
namespace {

// The first step of a sequence gets what the clean run knows of it, and computes the rest. A later
// one is no clean run, and is not recorded as one.
void KeepKeys(Task& task) {
  model::Row& row = task.rows[0];
  row.keys = task.keys;
  if (task.kept > 0)
    row.record_layers = 0;
  else if (row.clean != nullptr)
    task.keys->PutClean(*row.clean, static_cast<int64_t>(row.tokens.size()));
}

}  // namespace

void Prepare(Task& task, const model::Gpt2Config& config, BaselineCache& cache,
             int64_t record_bytes_max) {
  const std::string& scope = task.job->stream().cache_scope();
  task.clean.resize(task.plan->rows.size());
  const std::vector<int32_t>& sequence = task.plan->tokens[0];
  if (task.kept > 0)
    task.clean[0] = task.keys->Beginning(absl::MakeConstSpan(sequence).first(task.kept));
  for (size_t row = 0; row < task.clean.size(); ++row) {
    if (task.clean[row] == nullptr) task.clean[row] = cache.Find(scope, task.plan->tokens[row]);
  }
  const bool keeps = cache.enabled() || task.keeps_clean;
  task.rows = Cones(*task.plan, config, task.clean, keeps ? record_bytes_max : 0);
  if (task.keys != nullptr) KeepKeys(task);
  task.tokens = task.plan->weight.observation_positions;
  for (const model::Row& row : task.rows) {
    if (!row.stops.empty()) task.tokens += static_cast<int64_t>(row.tokens.size()) - row.first;
  }
}

}  // namespace scalpel::engine
