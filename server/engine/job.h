// A call on its way into the engine.

#ifndef SCALPEL_SERVER_ENGINE_JOB_H_
#define SCALPEL_SERVER_ENGINE_JOB_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "server/engine/event_stream.h"
#include "server/spec/plan.h"
#include "server/spec/sweep.h"

namespace scalpel::engine {

struct Job {
  std::string request_id;
  std::shared_ptr<const spec::Plan> plan = nullptr;    // a Run,
  std::shared_ptr<const spec::Sweep> sweep = nullptr;  // or a Sweep
  std::shared_ptr<EventStream> stream;
  absl::Time deadline = absl::InfiniteFuture();
  absl::Time submitted = absl::InfinitePast();  // set by Scheduler::Submit
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_JOB_H_
