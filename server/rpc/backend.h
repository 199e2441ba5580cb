// What stands behind the wire: the facts of the loaded model, and the way into the engine.

#ifndef SCALPEL_SERVER_RPC_BACKEND_H_
#define SCALPEL_SERVER_RPC_BACKEND_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/counts.h"
#include "server/engine/job.h"
#include "server/spec/plan.h"

namespace scalpel::rpc {

struct Connections {
  int64_t open = 0;
  int64_t refused = 0;  // since the start, because too many were open
};

// Immutable; outlives every call that uses it.
struct Backend {
  const spec::ModelFacts& facts;
  std::string device;   // `cpu` or `cuda:0`
  std::string kernels;  // as model::KernelsName says
  int threads;          // that compute on the CPU
  // Scheduler::Submit.
  std::function<absl::Status(std::shared_ptr<engine::Job>)> submit;
  // Scheduler::cache_counts; empty: no engine.
  std::function<engine::BaselineCache::Counts()> cache_counts = nullptr;
  // Scheduler::counts; empty: no engine.
  std::function<engine::Counts()> engine_counts = nullptr;
  // Listener::connections and connections_refused; empty: nobody listens.
  std::function<Connections()> connections = nullptr;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_BACKEND_H_
