// What a call gives the engine to do: one plan (Run), or many, one after the other (Sweep).

#ifndef SCALPEL_SERVER_ENGINE_WORK_H_
#define SCALPEL_SERVER_ENGINE_WORK_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/event_stream.h"
#include "server/model/clean_state.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// One plan on its way through a wave. Used by the engine's thread only.
struct Task {
  std::shared_ptr<const spec::Plan> plan;
  // Where the plan's events go: statistics, tensors and block outputs while it runs, then reports.
  std::shared_ptr<EventSink> sink;
  // By row of the plan: what the clean run of its prompt left behind, as far as it is known. The
  // engine fills in from its cache what is missing, and afterwards what the task computed.
  std::vector<std::shared_ptr<const model::CleanState>> clean;
};

// What a task came to.
struct TaskResult {
  // By row: [positions, vocab] at Plan::logit_positions, undefined for rows without any.
  std::vector<at::Tensor> logits;
  int64_t tokens_computed = 0;  // of this task: rows times positions, at the widest layer
  int64_t tensor_bytes = 0;     // sent through the sink
  absl::Time began;             // of the wave
};

// Next, Done and Close are called on the engine's thread; StillWanted on any.
class Work {
 public:
  virtual ~Work() = default;

  virtual const std::string& request_id() const = 0;
  // OK while somebody waits for the work; else CANCELLED or DEADLINE_EXCEEDED. Thread-safe.
  virtual absl::Status StillWanted() const = 0;
  // The next task for a wave; null: none before the tasks given out are done, or none at all.
  // A task that the wave has no more room for is asked for again later.
  virtual std::unique_ptr<Task> Next() = 0;
  // Whether every task has been given out and is done.
  virtual bool Finished() const = 0;
  // A task has run to its end. Pushes what follows from it.
  virtual void Done(const Task& task, TaskResult result) = 0;
  // Nothing more happens: how the call ends. Called once, and thread-safe.
  virtual void Close(const absl::Status& status) = 0;
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_WORK_H_
