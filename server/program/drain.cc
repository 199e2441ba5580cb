#include "server/program/drain.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "absl/time/clock.h"

namespace scalpel {
namespace {

// The time for the last messages and statuses to reach the clients after the calls have ended.
constexpr absl::Duration kFlushTime = absl::Milliseconds(200);
// How often connections that can be closed are looked for.
constexpr absl::Duration kPollInterval = absl::Milliseconds(50);

// Waits for the calls in progress, and meanwhile closes the connections of clients that were
// refused. Returns false if `deadline` passes first.
bool WaitForCalls(absl::Time deadline, rpc::Listener& listener, rpc::Service& service) {
  while (!service.WaitIdle(std::min(deadline, absl::Now() + kPollInterval))) {
    listener.HangUp(service.TurnedAway());
    if (absl::Now() >= deadline) return false;
  }
  return true;
}

}  // namespace

void Drain(const Config& config, bool device_failed, rpc::Listener& listener, rpc::Service& service,
           engine::Scheduler& scheduler) {
  listener.SetServing(false);
  if (config.lame_duck_seconds > 0 && !device_failed) {
    spdlog::info("health says NOT_SERVING; calls are served for {} s more",
                 config.lame_duck_seconds);
    absl::SleepFor(absl::Seconds(config.lame_duck_seconds));
  }
  const int seconds = config.drain_seconds;
  spdlog::info("draining for at most {} s; a second signal ends at once", seconds);
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  service.Close();
  listener.StopAccepting();
  if (!WaitForCalls(end, listener, service)) {
    spdlog::warn("cancelling the calls that have not finished within {} s", seconds);
    scheduler.StopAdmission();
    scheduler.CancelAll();
    service.WaitIdle(absl::Now() + kFlushTime);
  }
  absl::SleepFor(kFlushTime);
  listener.Shutdown();
  spdlog::info("stopped");
}

}  // namespace scalpel
