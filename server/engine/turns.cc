#include "server/engine/turns.h"

#include <algorithm>

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
  while (idle < turns.size()) {
    Turn& turn = turns.front();
    std::optional<Task> task;
    if (const std::exception_ptr failure = Take(turn, prepare, &task); failure != nullptr) {
      std::erase_if(wave, [&turn](const Task& other) { return other.job == turn.job; });
      filled.failed.emplace_back(turn.job, failure);
      turns.pop_front();
      continue;
    }
    const bool waits = task && light_only && IsHeavy(*task, wave_tokens);
    if (task && !waits && !wave.empty() && tokens + task->tokens > wave_tokens) {
      turn.held = std::move(task);
      return filled;
    }
    if (!task || waits) {
      turn.held = std::move(task);
      ++idle;
    } else {
      idle = 0;
      tokens += task->tokens;
      wave.push_back(*std::move(task));
    }
    std::rotate(turns.begin(), turns.begin() + 1, turns.end());
  }
  return filled;
}

}  // namespace scalpel::engine
