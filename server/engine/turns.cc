#include "server/engine/turns.h"

#include <algorithm>
#include <iterator>

#include "server/engine/failure.h"
#include "server/engine/fault_points.h"

namespace scalpel::engine {
namespace {

// The task that the job gives now: the one held, or a new one. Null exception: it could be made, if
// the job has one.
std::exception_ptr Take(Turn& turn, absl::FunctionRef<void(Task&)> prepare,
                        std::optional<Task>* task) {
  return FailureOf([&] {
    if (!turn.job->stream().StillWanted().ok()) return;
    *task = std::exchange(turn.held, std::nullopt);
    if (*task) return;
    PassFaultPoint(FaultPoint::kNextTask, turn.job->stream().request_id());
    *task = turn.job->NextTask();
    if (*task) prepare(**task);
  });
}

}  // namespace

FilledWave FillWave(Turns& turns, int64_t wave_tokens, bool light_only,
                    absl::FunctionRef<void(Task&)> prepare) {
  FilledWave filled;
  Wave& wave = filled.wave;
  int64_t tokens = 0;
  size_t idle = 0;  // jobs in a row that had nothing to give
  Turns passed;     // jobs with a heavy task, which keep their turns
  while (idle < turns.size()) {
    Turn& turn = turns.front();
    std::optional<Task> task;
    if (const std::exception_ptr failure = Take(turn, prepare, &task); failure != nullptr) {
      std::erase_if(wave, [&turn](const Task& other) { return other.job == turn.job; });
      filled.failed.emplace_back(turn.job, failure);
      turns.pop_front();
      continue;
    }
    if (task && light_only && IsHeavy(*task, wave_tokens)) {
      turn.held = std::move(task);
      passed.push_back(std::move(turn));
      turns.pop_front();
      continue;
    }
    if (task && !wave.empty() && tokens + task->tokens > wave_tokens) {
      turn.held = std::move(task);
      break;
    }
    ++idle;
    if (task) {
      idle = 0;
      tokens += task->tokens;
      wave.push_back(*std::move(task));
    }
    std::rotate(turns.begin(), turns.begin() + 1, turns.end());
  }
  turns.insert(turns.begin(), std::make_move_iterator(passed.begin()),
               std::make_move_iterator(passed.end()));
  return filled;
}

}  // namespace scalpel::engine
