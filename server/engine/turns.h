// In which order jobs give tasks to waves, and how many tasks fit into one.

#ifndef SCALPEL_SERVER_ENGINE_TURNS_H_
#define SCALPEL_SERVER_ENGINE_TURNS_H_

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "server/engine/job.h"
#include "server/engine/task.h"
#include "server/engine/wave.h"

namespace scalpel::engine {

// A job, and its next task if that has been made already: the last wave had no room for it.
struct Turn {
  std::shared_ptr<Job> job;
  std::optional<Task> held = {};
};
// The front's turn is next.
using Turns = std::deque<Turn>;

struct FilledWave {
  Wave wave;
  // Jobs whose next task could not be made, with what was thrown. They have left the turns, and
  // their tasks the wave.
  std::vector<std::pair<std::shared_ptr<Job>, std::exception_ptr>> failed = {};
};

// A task that weighs more than a wave may: it has one of its own.
inline bool IsHeavy(const Task& task, int64_t wave_tokens) { return task.tokens > wave_tokens; }

// Takes tasks of all jobs in turn, one each, as long as they weigh at most `wave_tokens` together;
// a heavy one is taken alone. Leaves the jobs in the order of their next turns, with the task for
// which there was no room. `light_only`: those with a heavy task are passed over, and come first in
// the next wave. `prepare` is called once for each new task. Compiles variants, so it may take
// long.
FilledWave FillWave(Turns& turns, int64_t wave_tokens, bool light_only,
                    absl::FunctionRef<void(Task&)> prepare);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_TURNS_H_
