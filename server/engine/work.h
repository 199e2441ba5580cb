// What a call gives the engine to do: one plan (Run), or many, one after the other (Sweep).

#ifndef SCALPEL_SERVER_ENGINE_WORK_H_
#define SCALPEL_SERVER_ENGINE_WORK_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/event_stream.h"
#include "server/engine/tensor_sender.h"
#include "server/model/clean_state.h"
#include "server/spec/plan.h"

namespace scalpel::engine {

// One plan on its way through a wave. Used by the engine's thread only.
struct Task {
  std::shared_ptr<const spec::Plan> plan;
  // Where the plan's events go while it runs: statistics, tensors and block outputs.
  std::shared_ptr<EventSink> sink;
  // By row of the plan: what the clean run of its prompt left behind, as far as it is known. The
  // engine fills in from its cache what is missing, and afterwards what the task computed.
  std::vector<std::shared_ptr<const model::CleanState>> clean = {};
  // Whether the task wants what it computed of clean runs even where the cache does not.
  bool keeps_clean = false;
};

// What a task came to.
struct TaskResult {
  // By row: [positions, vocab] at Plan::logit_positions, undefined for rows without any.
  std::vector<at::Tensor> logits;
  // By intervention.
  std::vector<v1::InterventionReport> reports;
  // Positions of all rows that were computed in any layer; the rest was known.
  int64_t tokens_computed = 0;
  absl::Time began;  // of the wave
  // Where the plan's tensors went: more of them go there too.
  TensorSender* sender = nullptr;
  // The first row that had an infinity or NaN.
  std::optional<int32_t> non_finite_row = {};
  // Tells where one arose first in a row of a plan, by running the plan again; to be called within
  // Done.
  std::function<std::optional<v1::FirstNonFinite>(const spec::Plan& plan, int32_t row)> locate = {};
};

// Next, Finished and Done are called by the engine's thread; the others on any.
class Work {
 public:
  virtual ~Work() = default;

  virtual const std::string& request_id() const = 0;
  // OK while somebody waits for the work; else CANCELLED or DEADLINE_EXCEEDED.
  virtual absl::Status StillWanted() const = 0;
  // The next task; null: none before the tasks given out are done, or none at all.
  virtual std::unique_ptr<Task> Next() = 0;
  // Whether every task has been given out and is done.
  virtual bool Finished() const = 0;
  // A task has run to its end. Pushes what follows from it.
  virtual void Done(const Task& task, TaskResult result) = 0;
  // The call ends so; only the first of several counts.
  virtual void Close(const absl::Status& status) = 0;
  // The same at once: what was not yet read is dropped, and nobody waits any more.
  virtual void Abort(const absl::Status& status) = 0;
};

// What most works answer to StillWanted.
absl::Status StillWanted(const EventStream& stream, absl::Time deadline);

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_WORK_H_
