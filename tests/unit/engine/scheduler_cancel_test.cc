// Calls that leave, and deadlines.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/scheduler.h"
#include "tests/unit/support/busy_engine.h"
#include "tests/unit/support/limits.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::BusyScheduler;
using test::Call;
using test::Gate;
using test::kLayers;
using test::kPatience;
using test::MakeRun;
using test::WaitForEnd;
using test::Words;

// ---- cancellation and deadlines -----------------------------------------------------------------

TEST_F(BusyScheduler, WorkCancelledInTheQueueIsNotComputed) {
  Start();
  const Call waiting = MakeRun();
  ASSERT_TRUE(scheduler_->Submit(waiting.job).ok());
  waiting.stream->Cancel();
  gate_->Release();
  EXPECT_EQ(WaitForEnd(*waiting.stream).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(WaitForEnd(*running_.stream).ok());
}

// gRPC may begin the next call on the thread that tells it of an end.
TEST_F(BusyScheduler, ACallerMaySubmitAgainWhenItsStreamEnds) {
  Start(test::LimitsOf("max_queue: 1"));
  const Call dropped_by_submit = MakeRun(), dropped_by_the_engine = MakeRun();
  std::atomic<int> came_back = 0;
  for (const Call* call : {&dropped_by_submit, &dropped_by_the_engine}) {
    ASSERT_TRUE(scheduler_->Submit(call->job).ok());
    call->stream->SetReady([this, &came_back, stream = call->stream.get()] {
      if (!stream->End()) return;
      scheduler_->counts();
      ++came_back;
    });
    call->stream->Cancel();
  }
  EXPECT_EQ(came_back, 1);
  gate_->Release();
  EXPECT_EQ(WaitForEnd(*dropped_by_the_engine.stream).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  EXPECT_EQ(came_back, 2);
}

TEST_F(BusyScheduler, WorkCancelledWhileItRunsEndsAsCancelled) {
  Start();  // held in the statistics of layer 0
  running_.stream->Cancel();
  gate_->Release();
  std::vector<Event> events;
  EXPECT_EQ(WaitForEnd(*running_.stream, &events).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(events.empty());
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
}

TEST_F(BusyScheduler, WorkWhoseDeadlinePassesInTheQueueIsNotComputed) {
  Start();
  const Call waiting = MakeRun("", "id", absl::Now() + absl::Milliseconds(1));
  ASSERT_TRUE(scheduler_->Submit(waiting.job).ok());
  absl::SleepFor(absl::Milliseconds(2));
  gate_->Release();
  std::vector<Event> events;
  EXPECT_EQ(WaitForEnd(*waiting.stream, &events).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(events.empty());
}

TEST(Scheduler, ADeadlineStopsTheWorkWithinOneLayer) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const absl::Time deadline = absl::Now() + absl::Seconds(3);  // ample for a layer of a tiny model
  const Call call = MakeRun(kLayers, "id", deadline);
  Gate gate(*call.stream);
  ASSERT_TRUE(scheduler.Submit(call.job).ok());
  gate.WaitUntilHeld();
  absl::SleepFor(deadline - absl::Now() + absl::Milliseconds(1));
  gate.Release();
  std::vector<Event> events;
  EXPECT_EQ(WaitForEnd(*call.stream, &events).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Words(events), ::testing::ElementsAre("statistics@0"));
}

}  // namespace
}  // namespace scalpel::engine
