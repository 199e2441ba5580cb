// One plan of a job, from the moment that its turn comes until its results are sent.

#ifndef SCALPEL_SERVER_ENGINE_TASK_H_
#define SCALPEL_SERVER_ENGINE_TASK_H_

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/event_stream.h"
#include "server/engine/tensor_sender.h"
#include "server/model/clean_state.h"
#include "server/model/config.h"
#include "server/model/key_cache.h"
#include "server/model/row.h"
#include "server/model/tensor.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

class Job;

// Takes a task's events while it runs. A wave that fails is run again, and then each task pushes
// all of its events again, the same ones in the same order.
class TaskSink : public EventSink {
 public:
  // The task runs from its beginning, for the first time or again.
  virtual void Restart() = 0;
};

// What a task came to.
struct TaskResult {
  // By row: [positions, vocab] at Plan::logit_positions, undefined for rows without any.
  std::vector<at::Tensor> logits;
  // By intervention.
  std::vector<v1::InterventionReport> reports;
  // By row: the clean run of its prompt, where it was known, or was computed and kept.
  std::vector<std::shared_ptr<const model::CleanState>> clean;
  // Positions of all rows that were computed in any layer; the rest was known.
  int64_t tokens_computed = 0;
  // When the first wave of the task began.
  absl::Time began;
  // The first row that had an infinity or NaN.
  std::optional<int32_t> non_finite_row = {};
  // Where the plan's tensors went: the logits follow them there.
  TensorSender* sender = nullptr;
  // Whether the caller still waits; to be asked where sending takes long.
  absl::FunctionRef<bool()> goes_on;
};

// Used by the engine's thread only.
struct Task {
  // Of the job.
  std::shared_ptr<Job> job;
  std::shared_ptr<const spec::Plan> plan;
  std::shared_ptr<TaskSink> sink;  // for the statistics, tensors and block outputs of the plan
  // Sends what follows from the result. It may throw, and is then called again after the task has
  // run once more; what it had sent by then must not be sent twice. Where the caller leaves
  // meanwhile, it stops, and the task is not done.
  std::function<void(TaskResult result)> done;
  // By row of the plan: what is known of the clean run of its prompt. Prepare adds what the cache
  // knows; afterwards, what the task computed is here too.
  std::vector<std::shared_ptr<const model::CleanState>> clean = {};
  // Whether `done` wants the clean runs that the task computed, even where the cache does not.
  bool keeps_clean = false;
  // Of a step of a generation: takes the keys and values of row 0, and holds those of its first
  // `kept` positions, which are not computed again.
  std::shared_ptr<model::KeyCache> keys = nullptr;
  int64_t kept = 0;

  // Of Prepare.
  std::vector<model::Row> rows = {};  // by row of the plan: what there is to compute
  // What the task adds to a wave, in positions: those that will be computed in any layer, and as
  // many as the model computes in the time that the plan's observations and steps take.
  int64_t tokens = 0;

  // Of the waves that it was in.
  std::optional<absl::Time> began = {};
  std::exception_ptr failure = nullptr;  // what the last wave threw
};

// Looks up the clean runs of the task's prompts, and finds out what is left to compute. Of clean
// runs that are computed anew, at most `record_bytes_max` are kept. To be called before each wave.
void Prepare(Task& task, const model::Gpt2Config& config, BaselineCache& cache,
             int64_t record_bytes_max);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_TASK_H_
