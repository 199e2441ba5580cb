#include "server/program/drain.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "absl/time/clock.h"

namespace scalpel {
namespace {

// For statuses and last messages to reach their readers after the calls have ended.
constexpr absl::Duration kLastBytes = absl::Milliseconds(200);
// How often it is looked for connections that can go.
constexpr absl::Duration kRound = absl::Milliseconds(50);

// Waits for the calls under way, and meanwhile ends the connections of those who were refused;
// false: `deadline` passed first.
bool WaitForCalls(absl::Time deadline, rpc::Listener& listener, rpc::Service& service) {
  while (!service.WaitIdle(std::min(deadline, absl::Now() + kRound))) {
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
  const int seconds = config.limits.drain_seconds_max;
  spdlog::info("draining for at most {} s; a second signal ends at once", seconds);
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  service.Close();
  listener.StopAccepting();
  scheduler.StopAdmission();
  if (!WaitForCalls(end, listener, service)) {
    spdlog::warn("calls are cut off: {} s are over", seconds);
    scheduler.CancelAll();
    service.WaitIdle(absl::Now() + kLastBytes);
  }
  absl::SleepFor(kLastBytes);
  listener.Shutdown();
  spdlog::info("stopped");
}

}  // namespace scalpel
