// Light tasks run while a heavy one is under way, between its layers, and neither sees the other.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/scheduler.h"
#include "tests/unit/support/busy_engine.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::Call;
using test::Gate;
using test::kPatience;
using test::MakeRun;
using test::WaitForEnd;

std::string Light(int seed) {
  return absl::StrCat("interventions { place { site: SITE_Z } noise { seed: ", seed,
                      " } } probes { place { site: SITE_PATTERN } statistics: STATISTIC_STD }");
}

std::string Heavy(int seed) {
  return absl::StrCat(Light(seed),
                      "probes { place { site: SITE_RESID_POST } statistics: [STATISTIC_MEAN, "
                      "STATISTIC_RELATIVE_L2] } captures { place { site: SITE_Q } }");
}

// In a wave of these limits there is room for one light run, and none for a heavy one. The heavy
// run computes the clean runs of its prompts too.
Limits OneLightRun() {
  const auto weight = [](const std::string& text) {
    const auto plan = test::CompileOrThrow(test::RequestOf(text));
    int64_t positions = plan->weight.observation_positions;
    for (const auto& tokens : plan->tokens) positions += static_cast<int64_t>(tokens.size());
    return positions;
  };
  Limits limits;
  limits->set_wave_tokens(weight(Light(1)));
  limits->set_baseline_cache_bytes(0);
  EXPECT_GT(weight(Heavy(1)), limits->wave_tokens());
  return limits;
}

std::string BytesOf(const std::vector<Event>& events) {
  std::string bytes;
  for (const Event& event : events) {
    if (event.tensor) absl::StrAppend(&bytes, std::string(event.tensor->bytes));
    if (!event.message.has_finished()) absl::StrAppend(&bytes, event.message.SerializeAsString());
  }
  return bytes;
}

std::string RunAlone(const std::string& text) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Call call = MakeRun(text);
  EXPECT_TRUE(scheduler.Submit(call.job).ok());
  std::vector<Event> events;
  EXPECT_TRUE(WaitForEnd(*call.stream, &events).ok());
  return BytesOf(events);
}

// Calls `then` on the engine's thread with each event that the stream gets.
void OnEachEvent(EventStream& stream, std::function<void()> then) {
  stream.SetReady(std::move(then));
}

TEST(SchedulerInterludes, ALightRunEndsWhileAHeavyOneIsUnderWay) {
  Scheduler scheduler(test::TinyGpt2(), OneLightRun());
  const Call heavy = MakeRun(Heavy(1)), light = MakeRun(Light(2));
  bool light_first = false;
  OnEachEvent(*light.stream, [&] {
    while (light.stream->Pop()) {
    }
    while (heavy.stream->Pop()) {
    }
    if (light.stream->End() && !heavy.stream->End()) light_first = true;
  });
  Gate gate(*heavy.stream);
  ASSERT_TRUE(scheduler.Submit(heavy.job).ok());
  gate.WaitUntilHeld();  // in its first layer
  ASSERT_TRUE(scheduler.Submit(light.job).ok());
  absl::SleepFor(absl::Milliseconds(5));  // It looks for others no more often than each ms.
  gate.Release();
  EXPECT_TRUE(scheduler.WaitIdle(kPatience));
  EXPECT_TRUE(light_first);
}

TEST(SchedulerInterludes, NeitherSeesTheOther) {
  std::vector<std::string> texts, expected, got;
  for (int i = 0; i < 24; ++i) {
    texts.push_back(i % 3 == 0 ? Heavy(i) : Light(i));
    expected.push_back(RunAlone(texts.back()));
  }
  got.resize(texts.size());
  Scheduler scheduler(test::TinyGpt2(), OneLightRun());
  std::vector<std::thread> callers;
  for (size_t caller = 0; caller < 6; ++caller) {
    callers.emplace_back([&, caller] {
      for (size_t i = caller; i < texts.size(); i += 6) {
        const Call call = MakeRun(texts[i]);
        std::vector<Event> events;
        if (scheduler.Submit(call.job).ok() && WaitForEnd(*call.stream, &events).ok())
          got[i] = BytesOf(events);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(got, expected);
}

// One light run after the other, for as long as the heavy one takes.
TEST(SchedulerInterludes, TheHeavyRunGoesOnToo) {
  Scheduler scheduler(test::TinyGpt2(), OneLightRun());
  std::atomic<bool> over = false;
  std::thread others([&] {
    while (!over) {
      const Call light = MakeRun("");
      EXPECT_TRUE(scheduler.Submit(light.job).ok());
      EXPECT_TRUE(WaitForEnd(*light.stream).ok());
    }
  });
  for (int i = 0; i < 20; ++i) {
    const Call heavy = MakeRun(Heavy(i));
    ASSERT_TRUE(scheduler.Submit(heavy.job).ok());
    EXPECT_TRUE(WaitForEnd(*heavy.stream).ok());
  }
  over = true;
  others.join();
}

TEST(SchedulerInterludes, TheHeavyRunsCallerMayLeaveMeanwhile) {
  Scheduler scheduler(test::TinyGpt2(), OneLightRun());
  const Call heavy = MakeRun(Heavy(1)), light = MakeRun(Light(2));
  Gate gate(*heavy.stream);
  ASSERT_TRUE(scheduler.Submit(heavy.job).ok());
  gate.WaitUntilHeld();
  ASSERT_TRUE(scheduler.Submit(light.job).ok());
  OnEachEvent(*light.stream, [&] { heavy.stream->Cancel(); });
  absl::SleepFor(absl::Milliseconds(5));
  gate.Release();
  EXPECT_TRUE(absl::IsCancelled(WaitForEnd(*heavy.stream)));
  EXPECT_TRUE(WaitForEnd(*light.stream).ok());
  EXPECT_TRUE(scheduler.WaitIdle(kPatience));
  EXPECT_EQ(scheduler.counts().queued, 0);
}

}  // namespace
}  // namespace scalpel::engine
