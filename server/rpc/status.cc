#include "server/rpc/status.h"

#include "server/base/version.h"
#include "server/contract/methods.h"
#include "server/insight/process.h"
#include "server/rpc/describe.h"

namespace scalpel::rpc {
namespace {

v1::ServerState StateOf(const StatusFacts& facts) {
  if (facts.draining) return v1::SERVER_STATE_DRAINING;
  return facts.backend == nullptr ? v1::SERVER_STATE_LOADING : v1::SERVER_STATE_SERVING;
}

int64_t CountOf(const std::map<std::string, int64_t>& counts, const std::string& name) {
  const auto found = counts.find(name);
  return found == counts.end() ? 0 : found->second;
}

void DescribeCalls(const Calls::Counts& calls, v1::GetStatusResponse* out) {
  for (const absl::string_view name : contract::MethodNames()) {
    v1::MethodStatus* method = out->add_methods();
    method->set_method(std::string(name));
    method->set_calls(CountOf(calls.by_method, method->method()));
    method->set_ended(CountOf(calls.by_method_ended, method->method()));
  }
  for (const auto& [name, count] : calls.by_caller) {
    v1::CallerStatus* caller = out->add_callers();
    caller->set_name(name);
    caller->set_calls(count);
  }
}

Connections ConnectionsOf(const StatusFacts& facts) {
  const bool known = facts.backend != nullptr && facts.backend->connections;
  return known ? facts.backend->connections() : Connections();
}

void DescribeRejections(const StatusFacts& facts, v1::GetStatusResponse* out) {
  std::map<std::string, int64_t> counts = facts.rejections;
  counts["connections"] = ConnectionsOf(facts).refused;
  for (const auto& [reason, count] : counts) {
    v1::RejectionCount* rejection = out->add_rejections();
    rejection->set_reason(reason);
    rejection->set_count(count);
  }
}

void DescribeEngine(const engine::EngineCounts& counts, v1::EngineStatus* out) {
  out->set_queued(counts.queued);
  out->set_running(counts.running);
  out->set_buffered_bytes(counts.buffered_bytes);
  out->set_waves(counts.waves);
  out->set_rows(counts.done.rows);
  out->set_tokens(counts.done.tokens);
  out->set_tokens_computed(counts.done.tokens_computed);
  out->set_flops(counts.done.flops);
  out->set_flops_computed(counts.done.flops_computed);
  out->set_busy_us(absl::ToInt64Microseconds(counts.busy));
}

}  // namespace

v1::GetStatusResponse DescribeStatus(const StatusFacts& facts, const Limits& limits) {
  v1::GetStatusResponse out;
  out.set_server_version(kVersion);
  out.set_state(StateOf(facts));
  out.set_uptime_us(absl::ToInt64Microseconds(facts.uptime));
  DescribeCalls(facts.calls, &out);
  DescribeRejections(facts, &out);
  out.mutable_memory()->set_resident_bytes(insight::ResidentBytes());
  out.mutable_memory()->set_limit_bytes(insight::MemoryLimitBytes());
  if (facts.backend == nullptr) return out;
  out.set_model(facts.backend->facts.name);
  out.set_device(facts.backend->device);
  out.set_connections(ConnectionsOf(facts).open);
  *out.mutable_baseline_cache() = DescribeCache(*facts.backend, limits);
  if (facts.backend->engine_counts)
    DescribeEngine(facts.backend->engine_counts(), out.mutable_engine());
  return out;
}

}  // namespace scalpel::rpc
