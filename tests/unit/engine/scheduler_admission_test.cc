// What is admitted, counted, and left when the engine stops.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/base/errors.h"
#include "server/engine/scheduler.h"
#include "tests/unit/support/busy_engine.h"
#include "tests/unit/support/limits.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::BusyScheduler;
using test::Call;
using test::kPatience;
using test::MakeRun;
using test::WaitForEnd;

using ::testing::HasSubstr;

google::rpc::RetryInfo RetryOf(const absl::Status& status) {
  google::rpc::RetryInfo info;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.RetryInfo");
  EXPECT_TRUE(payload && info.ParseFromString(std::string(*payload))) << status;
  return info;
}

// ---- admission ----------------------------------------------------------------------------------

TEST_F(BusyScheduler, AFullQueueSaysWhenToRetry) {
  Start(test::LimitsOf("max_queue: 2"));
  const Call first = MakeRun(), second = MakeRun();
  ASSERT_TRUE(scheduler_->Submit(first.job).ok());
  ASSERT_TRUE(scheduler_->Submit(second.job).ok());
  const absl::Status full = scheduler_->Submit(MakeRun().job);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("the queue is full (2 requests)"));
  EXPECT_GT(RetryOf(full).retry_delay().nanos(), 0);
  // Whoever has left makes room.
  first.stream->Cancel();
  EXPECT_TRUE(scheduler_->Submit(MakeRun().job).ok());
  EXPECT_EQ(WaitForEnd(*first.stream).code(), absl::StatusCode::kCancelled);
  gate_->Release();
  EXPECT_TRUE(WaitForEnd(*second.stream).ok());
}

TEST_F(BusyScheduler, AdmissionSaysWhatSubmitWould) {
  Start(test::LimitsOf("max_queue: 1"));
  EXPECT_TRUE(scheduler_->Admission().ok());
  const Call first = MakeRun(), second = MakeRun();
  ASSERT_TRUE(scheduler_->Submit(first.job).ok());
  EXPECT_EQ(scheduler_->Admission(), scheduler_->Submit(second.job));
  EXPECT_GT(RetryOf(scheduler_->Admission()).retry_delay().nanos(), 0);
  first.stream->Cancel();
  EXPECT_TRUE(scheduler_->Admission().ok()) << "whoever has left makes room";
  EXPECT_EQ(WaitForEnd(*first.stream).code(), absl::StatusCode::kCancelled);
  scheduler_->StopAdmission();
  EXPECT_EQ(scheduler_->Admission(), scheduler_->Submit(second.job));
  EXPECT_TRUE(absl::IsUnavailable(scheduler_->Admission()));
  gate_->Release();
}

TEST(Scheduler, HoldsReservedBytesUntilTheStreamIsDestroyed) {
  const int64_t bytes = MakeRun().plan->started.cost().response_bytes();
  Scheduler scheduler(test::TinyGpt2(),
                      test::LimitsOf(absl::StrCat("max_buffered_bytes: ", 2 * bytes)));
  auto first = std::make_unique<Call>(MakeRun());
  const Call second = MakeRun();
  ASSERT_TRUE(scheduler.Submit(first->job).ok());
  ASSERT_TRUE(scheduler.Submit(second.job).ok());
  ASSERT_TRUE(WaitForEnd(*second.stream).ok());
  ASSERT_TRUE(scheduler.WaitIdle(kPatience));
  const absl::Status full =
      scheduler.Submit(MakeRun().job);  // both are done, and nobody has read the first
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("are waiting for their readers"));
  EXPECT_GT(RetryOf(full).retry_delay().nanos(), 0);
  first.reset();
  EXPECT_TRUE(scheduler.Submit(MakeRun().job).ok());
}

TEST(Scheduler, StreamsMayOutliveIt) {
  const Call call = MakeRun();
  {
    Scheduler scheduler(test::TinyGpt2(), Limits());
    ASSERT_TRUE(scheduler.Submit(call.job).ok());
    EXPECT_TRUE(scheduler.WaitIdle(kPatience));
  }
  EXPECT_TRUE(WaitForEnd(*call.stream).ok());
}

// ---- counts -------------------------------------------------------------------------------------

double PlainFlops(const Call& call) { return call.plan->started.cost().flops(); }

TEST(SchedulerCounts, CountsAFullComputationAsItsEstimatedCost) {
  Scheduler scheduler(test::TinyGpt2(), test::LimitsOf("baseline_cache_bytes: 0"));
  const Call call = MakeRun();
  ASSERT_TRUE(scheduler.Submit(call.job).ok());
  ASSERT_TRUE(WaitForEnd(*call.stream).ok());
  const EngineCounts counts = scheduler.counts();
  EXPECT_EQ(counts.waves, 1);
  EXPECT_EQ(counts.done.rows, 2);
  EXPECT_EQ(counts.done.tokens, 7);
  EXPECT_EQ(counts.done.tokens_computed, 7);
  EXPECT_DOUBLE_EQ(counts.done.flops, PlainFlops(call));
  // In the last layer, only positions that somebody reads have queries; here that is every one.
  EXPECT_DOUBLE_EQ(counts.done.flops_computed, PlainFlops(call));
  EXPECT_GT(counts.busy, absl::ZeroDuration());
}

TEST(SchedulerCounts, CachesThePromptsBeforeTheAnswerEnds) {
  std::atomic<int64_t> entries = -1;
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Call call = MakeRun();
  call.stream->SetReady([&] {
    while (call.stream->Pop()) continue;
    if (call.stream->End()) entries = scheduler.cache_counts().entries;
  });
  ASSERT_TRUE(scheduler.Submit(call.job).ok());
  ASSERT_TRUE(scheduler.WaitIdle(kPatience));
  EXPECT_EQ(entries, 2);
}

TEST(SchedulerCounts, CountsCachedPositionsAsSaved) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Call first = MakeRun(), second = MakeRun();
  for (const Call& call : {first, second}) {
    ASSERT_TRUE(scheduler.Submit(call.job).ok());
    ASSERT_TRUE(WaitForEnd(*call.stream).ok());
  }
  const EngineCounts counts = scheduler.counts();
  EXPECT_EQ(counts.waves, 2);
  EXPECT_EQ(counts.done.rows, 4);
  EXPECT_EQ(counts.done.tokens, 14);
  EXPECT_LE(counts.done.tokens_computed, 14);
  EXPECT_DOUBLE_EQ(counts.done.flops, 2 * PlainFlops(first));
  EXPECT_GE(counts.done.flops_computed, PlainFlops(first));
  EXPECT_LT(counts.done.flops_computed, 1.6 * PlainFlops(first));
}

TEST_F(BusyScheduler, CountsQueuedAndRunningWork) {
  Start();
  const Call waiting = MakeRun();
  ASSERT_TRUE(scheduler_->Submit(waiting.job).ok());
  EngineCounts counts = scheduler_->counts();
  EXPECT_EQ(counts.queued, 1);
  EXPECT_EQ(counts.running, 1);
  EXPECT_EQ(counts.buffered_bytes, 2 * waiting.plan->started.cost().response_bytes());
  EXPECT_EQ(counts.waves, 0);
  gate_->Release();
  EXPECT_TRUE(WaitForEnd(*waiting.stream).ok());
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  counts = scheduler_->counts();
  EXPECT_EQ(counts.queued, 0);
  EXPECT_EQ(counts.running, 0);
  EXPECT_EQ(counts.waves, 2);
}

TEST_F(BusyScheduler, CancelledWorkCountsTimeButNoRows) {
  Start();
  running_.stream->Cancel();
  gate_->Release();
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  const EngineCounts counts = scheduler_->counts();
  EXPECT_EQ(counts.waves, 1);
  EXPECT_EQ(counts.done.rows, 0);
  EXPECT_GT(counts.busy, absl::ZeroDuration());
}

TEST_F(BusyScheduler, ARefusalHasAReason) {
  Start(test::LimitsOf("max_queue: 1"));
  ASSERT_TRUE(scheduler_->Submit(MakeRun().job).ok());
  EXPECT_EQ(ReasonOf(scheduler_->Submit(MakeRun().job)), Reason::kQueueFull);
  Scheduler small(test::TinyGpt2(), test::LimitsOf("max_buffered_bytes: 1"));
  EXPECT_EQ(ReasonOf(small.Submit(MakeRun().job)), Reason::kBufferedBytes);
}

// ---- shutting down ------------------------------------------------------------------------------

TEST_F(BusyScheduler, DrainsAcceptedWorkAndRefusesNew) {
  Start();
  const Call waiting = MakeRun();
  ASSERT_TRUE(scheduler_->Submit(waiting.job).ok());
  scheduler_->StopAdmission();
  EXPECT_EQ(scheduler_->Submit(MakeRun().job).code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(scheduler_->WaitIdle(absl::Milliseconds(5)));
  gate_->Release();
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  EXPECT_TRUE(WaitForEnd(*running_.stream).ok());
  EXPECT_TRUE(WaitForEnd(*waiting.stream).ok());
}

TEST_F(BusyScheduler, CancelAllEndsEveryStreamAsUnavailable) {
  Start();
  const Call waiting = MakeRun();
  ASSERT_TRUE(scheduler_->Submit(waiting.job).ok());
  scheduler_->CancelAll();
  EXPECT_EQ(WaitForEnd(*waiting.stream).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(WaitForEnd(*running_.stream).code(), absl::StatusCode::kUnavailable);
  gate_->Release();
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  const Call next = MakeRun();
  EXPECT_TRUE(scheduler_->Submit(next.job).ok());  // the engine itself goes on
  EXPECT_TRUE(WaitForEnd(*next.stream).ok());
}

TEST_F(BusyScheduler, TheDestructorLeavesNoStreamOpen) {
  Start();
  const Call waiting = MakeRun();
  ASSERT_TRUE(scheduler_->Submit(waiting.job).ok());
  std::thread opener([this] {  // the destructor waits for the engine's thread
    while (!running_.stream->cancelled()) absl::SleepFor(absl::Milliseconds(1));
    gate_->Release();
  });
  scheduler_.reset();
  opener.join();
  EXPECT_EQ(WaitForEnd(*running_.stream).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(WaitForEnd(*waiting.stream).code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace scalpel::engine
