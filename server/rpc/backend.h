// What the service serves: the loaded model, and the functions that reach the engine.

#ifndef SCALPEL_SERVER_RPC_BACKEND_H_
#define SCALPEL_SERVER_RPC_BACKEND_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "proto/scalpel/v1/model.pb.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/counts.h"
#include "server/engine/job.h"
#include "server/spec/plan.h"

namespace scalpel::rpc {

struct Connections {
  int64_t open = 0;
  int64_t refused = 0;  // since the start, because too many were open
};

// Immutable, and shared by the calls that use it. The functions must be thread-safe. `facts`, and
// what the functions refer to, must outlive all calls.
struct Backend {
  const spec::ModelFacts& facts;
  std::string device;   // `cpu` or `cuda:0`
  std::string kernels;  // as returned by model::KernelsName
  int threads;          // that compute on the CPU
  // Scheduler::Submit.
  std::function<absl::Status(std::shared_ptr<engine::Job>)> submit;
  // Scheduler::cache_counts; empty: no engine.
  std::function<engine::BaselineCache::Counts()> cache_counts = nullptr;
  // Scheduler::counts; null if there is no engine.
  std::function<engine::EngineCounts()> engine_counts = nullptr;
  // Listener::connections and connections_refused; null if there is no listener.
  std::function<Connections()> connections = nullptr;
  // Scheduler::Admission; null: all may be submitted.
  std::function<absl::Status()> admission = nullptr;
  // Which calls share the engine's cache of clean runs.
  v1::CacheScope cache_scope = v1::CACHE_SCOPE_SHARED;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_BACKEND_H_
