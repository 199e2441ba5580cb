// The server's program: reads the flags, binds the port, loads the model, serves until it is told
// to stop, and drains.

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "server/banner.h"
#include "server/config.h"
#include "server/engine/scheduler.h"
#include "server/healthcheck.h"
#include "server/loaded_model.h"
#include "server/rpc/backend.h"
#include "server/rpc/listener.h"
#include "server/rpc/service.h"
#include "server/stop_signal.h"
#include "server/version.h"

namespace scalpel {
namespace {

constexpr int kExitCannotServe = 1;
constexpr int kExitBadFlag = 2;
// For clients to learn by UNAVAILABLE that they should try again elsewhere, before connections end:
// a call that crosses with the end of its connection is answered with less.
constexpr absl::Duration kRefusals = absl::Milliseconds(200);
// For statuses and last messages to reach their readers after the calls have ended.
constexpr absl::Duration kLastBytes = absl::Milliseconds(200);

// Says why the server does not start, in one line.
int Fail(absl::string_view what, const absl::Status& status, int code) {
  std::fprintf(stderr, "scalpel-server: %s%s\n", std::string(what).c_str(),
               absl::Utf8SafeCEscape(status.message()).c_str());
  return code;
}

// What is written to a closed pipe or standard stream must not end the server, nor land in a file
// that was opened in its place.
void GuardStandardStreams() {
  signal(SIGPIPE, SIG_IGN);
  for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR)) {
    if (fd <= STDERR_FILENO) continue;
    close(fd);
    break;
  }
}

void StartLog(const std::string& level) {
  setenv("GRPC_VERBOSITY", "NONE", 0);  // what matters of gRPC's errors comes back as a status
  spdlog::set_default_logger(spdlog::stderr_color_mt("scalpel"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  spdlog::set_level(spdlog::level::from_str(level));
}

// Leaves the service in an order that clients can follow: health first, so that balancers send no
// more; then new calls are refused, and connections are told to go elsewhere; calls under way
// finish, for as long as the limits allow.
void Drain(const Config& config, rpc::Listener& listener, rpc::Service& service,
           engine::Scheduler& scheduler) {
  listener.SetServing(false);
  if (config.lame_duck_seconds > 0) {
    spdlog::info("health says NOT_SERVING; calls are served for {} s more",
                 config.lame_duck_seconds);
    absl::SleepFor(absl::Seconds(config.lame_duck_seconds));
  }
  const int seconds = config.limits.drain_seconds_max;
  spdlog::info("draining for at most {} s; a second signal ends at once", seconds);
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  service.Close();
  scheduler.StopAdmission();
  absl::SleepFor(kRefusals);
  listener.BeginDrain();
  if (!service.WaitIdle(end)) {
    spdlog::warn("calls are cut off: {} s are over", seconds);
    scheduler.CancelAll();
    service.WaitIdle(absl::Now() + kLastBytes);
  }
  listener.Shutdown(absl::Now() + kLastBytes);
  spdlog::info("stopped");
}

int Serve(const Config& config, absl::Time began) {
  StopSignal stop;
  rpc::Service service(config.limits);
  rpc::ListenOptions options;
  options.address = config.listen;
  options.tls = {config.tls_cert, config.tls_key, config.tls_client_ca};
  options.limits = config.limits;
  auto listener = rpc::Listener::Open(options, &service);
  if (!listener.ok()) return Fail("", listener.status(), kExitBadFlag);

  const absl::StatusOr<LoadedModel> loaded = LoadModel(config);
  if (!loaded.ok()) return Fail("cannot load the model: ", loaded.status(), kExitCannotServe);
  engine::Scheduler scheduler(*loaded->gpt2, config.limits);
  const absl::Status warm = WarmUp(loaded->facts, scheduler);
  if (!warm.ok()) return Fail("cannot run the model: ", warm, kExitCannotServe);

  const auto submit = [&scheduler](engine::Job job) { return scheduler.Submit(std::move(job)); };
  const auto backend = std::make_shared<const rpc::Backend>(rpc::Backend{
      loaded->facts, loaded->gpt2->device().str(), std::string(loaded->gpt2->kernels()),
      loaded->threads, submit, [&scheduler] { return scheduler.cache_counts(); }});
  service.Open(backend);
  stop.Arm();
  (*listener)->SetServing(true);
  std::fputs(Banner(*backend, config.limits, (*listener)->address(), absl::Now() - began).c_str(),
             stdout);
  std::fflush(stdout);

  stop.Wait();
  Drain(config, **listener, service, scheduler);
  return 0;
}

// Settings of the C library and of OpenMP that must stand before either is used.
//
// Temporaries of a layer stay mapped between operations instead of being faulted in again each
// time. A thread that waits for the next parallel region spins only shortly: on two cores it would
// take time from the calls. libgomp reads its setting when it is loaded, so the program starts
// again once.
void TuneRuntime(char** argv) {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, 128 << 20);
  mallopt(M_TOP_PAD, 64 << 20);
  if (getenv("GOMP_SPINCOUNT") != nullptr || getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("GOMP_SPINCOUNT", "20000", 0);  // some ten microseconds
  std::error_code error;                 // by its own path, so that it goes by its own name
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) execv(self.c_str(), argv);  // where that fails, the threads only spin longer
}

int Main(int argc, char** argv) {
  const absl::Time began = absl::Now();
  TuneRuntime(argv);
  GuardStandardStreams();
  const absl::StatusOr<Config> config = ParseFlags(argc, argv);
  if (!config.ok()) return Fail("", config.status(), kExitBadFlag);
  if (config->help) return std::printf("%s", HelpText().c_str()) < 0;
  if (config->version) return std::printf("scalpel-server %s\n", kVersion) < 0;
  StartLog(config->log_level);
  if (config->healthcheck) {
    return RunHealthcheck(config->listen, !config->tls_cert.empty());
  }
  return Serve(*config, began);
}

}  // namespace
}  // namespace scalpel

int main(int argc, char** argv) { return scalpel::Main(argc, argv); }
