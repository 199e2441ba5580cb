// The main program: reads the settings, binds the port, loads the model, serves until it is told to
// stop, and drains.

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "server/access/new_token.h"
#include "server/base/utf8.h"
#include "server/base/version.h"
#include "server/config/config.h"
#include "server/config/help_text.h"
#include "server/contract/check.h"
#include "server/contract/methods.h"
#include "server/engine/scheduler.h"
#include "server/insight/exposition.h"
#include "server/insight/metrics.h"
#include "server/insight/process.h"
#include "server/insight/sources.h"
#include "server/program/banner.h"
#include "server/program/drain.h"
#include "server/program/gatekeeper.h"
#include "server/program/healthcheck.h"
#include "server/program/loaded_model.h"
#include "server/program/log.h"
#include "server/program/metric_sources.h"
#include "server/program/runtime.h"
#include "server/program/stop_signal.h"
#include "server/rpc/backend.h"
#include "server/rpc/listener.h"
#include "server/rpc/service.h"

namespace scalpel {
namespace {

// The exit statuses. After the first, which also stands for a failed device, a restart may help.
constexpr int kExitCannotServe = 1;
constexpr int kExitBadFlag = 2;

// Reports in one line why the server does not start, and returns `code`.
int Fail(absl::string_view what, const absl::Status& status, int code) {
  const std::string line = absl::StrCat(what, OneLine(status.message()));
  if (LogsJson()) {
    spdlog::critical("{}", line);
  } else {
    std::fprintf(stderr, "scalpel-server: %s\n", line.c_str());
  }
  return code;
}

// Ends the process without running destructors: gRPC's would wait for one of its pollers, for up to
// ten seconds.
[[noreturn]] void EndProcess(int status) {
  std::fflush(nullptr);
  _exit(status);
}

// Opens the port for metrics; returns null if none is configured.
absl::StatusOr<std::unique_ptr<insight::HttpPort>> OpenMetrics(
    const Config& config, const insight::Metrics& metrics,
    const std::shared_ptr<insight::Sources>& sources) {
  if (config.metrics_listen.empty()) return std::unique_ptr<insight::HttpPort>();
  auto port = insight::ExposeMetrics(config.metrics_listen, {metrics.registry(), sources});
  if (port.ok()) spdlog::info("metrics at http://{}/metrics", (*port)->address());
  return port;
}

absl::StatusOr<std::unique_ptr<rpc::Listener>> Listen(const Config& config, rpc::Service& service) {
  rpc::ListenOptions options;
  options.address = config.listen;
  options.tls = {config.tls_cert, config.tls_key, config.tls_client_ca};
  options.limits = config.limits;
  options.transport_bytes = config.transport_bytes;
  options.admit_reflection = [&service](grpc::CallbackServerContext* context, rpc::Call* call) {
    return service.AdmitReflection(*context, call);
  };
  return rpc::Listener::Open(options, &service);
}

rpc::Backend MakeBackend(const Config& config, const LoadedModel& loaded,
                         engine::Scheduler& scheduler, const rpc::Listener& listener) {
  return {.facts = loaded.facts,
          .device = loaded.gpt2->device().str(),
          .kernels = loaded.gpt2->kernels(),
          .threads = loaded.threads,
          .submit = [&scheduler](auto job) { return scheduler.Submit(std::move(job)); },
          .cache_counts = [&scheduler] { return scheduler.cache_counts(); },
          .engine_counts = [&scheduler] { return scheduler.counts(); },
          .connections = [&listener]() -> rpc::Connections {
            return {listener.connections(), listener.connections_refused()};
          },
          .admission = [&scheduler] { return scheduler.Admission(); },
          .cache_scope =
              config.cache_scope == "caller" ? v1::CACHE_SCOPE_CALLER : v1::CACHE_SCOPE_SHARED};
}

// Prints or logs that the server is ready; the text says how to call it.
void Announce(const rpc::Backend& backend, const Config& config, const std::string& address,
              absl::Duration startup) {
  if (LogsJson()) {
    spdlog::info("{} on {}: listening on {}", backend.facts.name, backend.device, address);
    return;
  }
  std::fputs(Banner(backend, config, address, startup).c_str(), stdout);
  std::fflush(stdout);
}

int Serve(const Config& config, absl::Time began) {
  StopSignal stop;
  insight::Metrics metrics(contract::MethodNames());
  const auto sources = std::make_shared<insight::Sources>();
  insight::AddProcess(*sources);
  auto gatekeeper = Gatekeeper::Open(config);
  if (!gatekeeper.ok()) {
    return Fail(GivenName(config, "tokens") + ": ", gatekeeper.status(), kExitBadFlag);
  }
  AddGatekeeper(**gatekeeper, *sources);
  auto opened = OpenMetrics(config, metrics, sources);
  if (!opened.ok()) {
    return Fail(GivenName(config, "metrics-listen") + ": ", opened.status(), kExitBadFlag);
  }
  rpc::Service service(config.limits, {.gate = (*gatekeeper)->gate(),
                                       .metrics = metrics,
                                       .slow_call = absl::Milliseconds(config.slow_call_ms)});
  auto listener = Listen(config, service);
  if (!listener.ok()) return Fail("", listener.status(), kExitBadFlag);
  spdlog::info("settings: {}", SettingsLine(config));

  const absl::StatusOr<LoadedModel> loaded = LoadModel(config);
  if (!loaded.ok()) return Fail("cannot load the model: ", loaded.status(), kExitCannotServe);
  std::atomic<bool> device_failed = false;
  engine::Scheduler scheduler(*loaded->gpt2, config.limits, [&device_failed, &stop] {
    device_failed = true;
    stop.Trigger();
  });
  const absl::Status warm = WarmUp(loaded->facts, scheduler);
  if (!warm.ok()) return Fail("cannot run the model: ", warm, kExitCannotServe);

  const auto backend =
      std::make_shared<const rpc::Backend>(MakeBackend(config, *loaded, scheduler, **listener));
  AddListener(**listener, *sources);
  AddBackend(*backend, config.limits, *sources);
  // Declared here, so that the port is closed before the objects that it reads are destroyed.
  const std::unique_ptr<insight::HttpPort> metrics_port = *std::move(opened);
  service.Open(backend);
  stop.Arm();
  (*listener)->SetServing(true);
  Announce(*backend, config, (*listener)->address(), absl::Now() - began);

  stop.Wait();
  Drain(config, device_failed, **listener, service, scheduler);
  EndProcess(device_failed ? kExitCannotServe : 0);
}

// Prints a new token and its entry for the token file.
int PrintNewToken(const std::string& name) {
  const absl::StatusOr<std::string> text = access::NewTokenText(name);
  if (!text.ok()) return Fail("--new-token: ", text.status(), kExitBadFlag);
  return std::printf("%s", text->c_str()) < 0;
}

int Main(int argc, char** argv) {
  const absl::Time began = absl::Now();
  GuardStandardStreams();
  if (absl::Status status = contract::Check(); !status.ok())
    return Fail("the contract is incomplete: ", status, kExitCannotServe);
  const absl::StatusOr<Config> config = ReadConfig(argc, argv, environ);
  if (!config.ok()) return Fail("", config.status(), kExitBadFlag);
  if (config->help) return std::printf("%s", HelpText().c_str()) < 0;
  if (config->version) return std::printf("scalpel-server %s\n", kVersion) < 0;
  if (!config->new_token.empty()) return PrintNewToken(config->new_token);
  StartLog(config->log_level, config->log_format == "json" ? LogFormat::kJson : LogFormat::kText);
  if (config->healthcheck) return RunHealthcheck(config->listen, !config->tls_cert.empty());
  return Serve(*config, began);
}

}  // namespace
}  // namespace scalpel

int main(int argc, char** argv) { return scalpel::Main(argc, argv); }
