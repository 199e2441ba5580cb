#include "server/program/metric_sources.h"

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "server/base/version.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/counts.h"

namespace scalpel {
namespace {

void AddEngine(const std::function<engine::EngineCounts()>& counts, insight::Sources& sources) {
  // Turns a member of Counts into a function for Sources.
  const auto read = [&counts](auto number) {
    return [counts, number] { return static_cast<double>(number(counts())); };
  };
  using C = const engine::EngineCounts&;
  sources.AddGauge("scalpel_engine_queue_length", "Calls that wait for their first pass.",
                   read([](C c) { return c.queued; }));
  sources.AddGauge("scalpel_engine_running", "Calls that have had their first pass.",
                   read([](C c) { return c.running; }));
  sources.AddGauge("scalpel_buffered_bytes", "Bytes reserved for responses that are not yet read.",
                   read([](C c) { return c.buffered_bytes; }));
  sources.AddGauge("scalpel_kv_bytes", "Bytes reserved for keys and values of generations.",
                   read([](C c) { return c.kv_bytes; }));
  sources.AddCounter("scalpel_engine_waves_total", "Passes of the model.",
                     read([](C c) { return c.waves; }));
  sources.AddCounter("scalpel_engine_rows_total", "Rows in passes of the model.",
                     read([](C c) { return c.done.rows; }));
  sources.AddCounter("scalpel_engine_tokens_total", "Positions of the rows in passes of the model.",
                     read([](C c) { return c.done.tokens; }));
  sources.AddCounter(
      "scalpel_engine_tokens_computed_total",
      "Positions that were computed in any layer; the others were cached or not needed.",
      read([](C c) { return c.done.tokens_computed; }));
  sources.AddCounter("scalpel_engine_flops_total",
                     "Floating point operations that the rows would take if computed in full.",
                     read([](C c) { return c.done.flops; }));
  sources.AddCounter("scalpel_engine_flops_computed_total",
                     "Floating point operations that were computed.",
                     read([](C c) { return c.done.flops_computed; }));
  sources.AddCounter("scalpel_engine_busy_seconds_total", "Time in passes of the model.",
                     read([](C c) { return absl::ToDoubleSeconds(c.busy); }));
}

void AddCache(const std::function<engine::BaselineCache::Counts()>& counts, int64_t bytes_max,
              insight::Sources& sources) {
  const auto read = [&counts](int64_t engine::BaselineCache::Counts::*number) {
    return [counts, number] { return static_cast<double>(counts().*number); };
  };
  using Counts = engine::BaselineCache::Counts;
  sources.AddGauge("scalpel_cache_bytes", "Bytes of clean runs that are kept.",
                   read(&Counts::bytes));
  sources.AddGauge("scalpel_cache_max_bytes", "The limit on bytes of clean runs.",
                   [bytes_max] { return static_cast<double>(bytes_max); });
  sources.AddGauge("scalpel_cache_entries", "Clean runs that are kept.", read(&Counts::entries));
  const char name[] = "scalpel_cache_lookups_total";
  const char help[] = "Lookups of a row's clean run, by result.";
  sources.AddCounter(name, help, read(&Counts::hits), {{"result", "hit"}});
  sources.AddCounter(name, help, read(&Counts::prefix_hits), {{"result", "prefix_hit"}});
  sources.AddCounter(name, help, read(&Counts::misses), {{"result", "miss"}});
}

// Adds a counter of reloads with a series for each result.
void AddReloads(const char* name, const char* help, auto ok, auto failed,
                insight::Sources& sources) {
  const auto add = [&](const char* result, auto read) {
    sources.AddCounter(name, help, [read] { return static_cast<double>(read()); },
                       {{"result", result}});
  };
  add("ok", ok);
  add("failed", failed);
}

}  // namespace

void AddGatekeeper(const Gatekeeper& gatekeeper, insight::Sources& sources) {
  const access::TokenFile* tokens = gatekeeper.tokens();
  if (tokens == nullptr) return;
  AddReloads(
      "scalpel_token_file_reloads_total", "Reloads of the token file, by result.",
      [tokens] { return tokens->counts().reloads; }, [tokens] { return tokens->counts().failures; },
      sources);
}

void AddListener(const rpc::Listener& listener, insight::Sources& sources) {
  const net::TlsReloads& reloads = listener.tls_reloads();
  AddReloads(
      "scalpel_certificate_reloads_total", "Reloads of the TLS files, by result.",
      [&reloads] { return reloads.ok.load(); }, [&reloads] { return reloads.failed.load(); },
      sources);
}

void AddBackend(const rpc::Backend& backend, const Limits& limits, insight::Sources& sources) {
  sources.AddGauge("scalpel_build_info", "The server and what it serves.", [] { return 1.0; },
                   {{"version", kVersion},
                    {"model", backend.facts.name},
                    {"device", backend.device},
                    {"kernels", backend.kernels}});
  sources.AddGauge("scalpel_connections", "Open connections.",
                   [read = backend.connections] { return static_cast<double>(read().open); });
  sources.AddCounter("scalpel_connections_refused_total",
                     "Connections refused because too many were open.",
                     [read = backend.connections] { return static_cast<double>(read().refused); });
  AddEngine(backend.engine_counts, sources);
  AddCache(backend.cache_counts, limits->baseline_cache_bytes(), sources);
}

}  // namespace scalpel
