#include "server/engine/scheduler.h"

#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "proto/google/rpc/error_details.pb.h"
#include "server/base/errors.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr absl::Duration kPatience = absl::Seconds(30);

// A statistic at every layer, so that every layer shows.
constexpr char kLayers[] = "probes { place { site: SITE_RESID_POST } statistics: STATISTIC_MEAN } ";

Job MakeJob(const std::string& text = kLayers, const std::string& request_id = "id") {
  return {.request_id = request_id,
          .plan = test::CompileOrThrow(test::RequestOf(text)),
          .stream = std::make_shared<EventStream>()};
}

// How the stream ends.
absl::Status WaitForEnd(EventStream& stream, std::vector<Event>* events = nullptr) {
  const absl::Time give_up = absl::Now() + kPatience;
  while (absl::Now() < give_up) {
    while (std::optional<Event> event = stream.Pop()) {
      if (events != nullptr) events->push_back(*std::move(event));
    }
    if (const auto end = stream.End()) return *end;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return absl::UnknownError("the stream did not end");
}

// Holds the engine's thread where it pushes the stream's first event, until released or destroyed.
class Gate {
 public:
  explicit Gate(EventStream& stream) {
    stream.SetReady([state = state_] {
      if (state->calls.fetch_add(1) != 1) return;  // the first call is SetReady's own
      state->entered.Notify();
      state->released.WaitForNotification();
    });
  }
  ~Gate() { Release(); }
  void WaitUntilHeld() { ASSERT_TRUE(state_->entered.WaitForNotificationWithTimeout(kPatience)); }
  void Release() {
    if (!state_->released.HasBeenNotified()) state_->released.Notify();
  }

 private:
  struct State {
    std::atomic<int> calls = 0;
    absl::Notification entered, released;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// An engine that is busy with `running` until the gate opens.
class BusyScheduler : public ::testing::Test {
 protected:
  void Start(const Limits& limits = {}) {
    scheduler_ = std::make_unique<Scheduler>(test::TinyGpt2(), limits);
    running_ = MakeJob();
    gate_ = std::make_unique<Gate>(*running_.stream);
    ASSERT_TRUE(scheduler_->Submit(running_).ok());
    gate_->WaitUntilHeld();
  }
  ~BusyScheduler() override { gate_.reset(); }  // before the scheduler waits for its thread

  Job running_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<Gate> gate_;
};

google::rpc::RetryInfo RetryOf(const absl::Status& status) {
  google::rpc::RetryInfo info;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.RetryInfo");
  EXPECT_TRUE(payload && info.ParseFromString(std::string(*payload))) << status;
  return info;
}

// ---- events -------------------------------------------------------------------------------------

// What the events of one run are, in a word each.
std::vector<std::string> Words(const std::vector<Event>& events) {
  std::vector<std::string> words;
  for (const Event& event : events) {
    const auto layer = [](const auto& message) {
      return message.has_layer() ? absl::StrCat(message.layer()) : "-";
    };
    if (event.tensor) {
      words.push_back(event.tensor->header.name() + "@" + layer(event.tensor->header));
    } else if (event.message.has_layer_statistics()) {
      words.push_back("statistics@" + layer(event.message.layer_statistics()));
    } else if (event.message.has_block_output()) {
      words.push_back(absl::StrCat("tuple@", event.message.block_output().layer()));
    } else if (event.message.has_logits()) {
      words.push_back(absl::StrCat("logits of ", event.message.logits().prompt()));
    } else if (event.message.has_intervention_report()) {
      words.push_back(absl::StrCat("report ", event.message.intervention_report().index()));
    } else {
      words.push_back(event.message.has_finished() ? "finished" : "?");
    }
  }
  return words;
}

TEST(Scheduler, EventsComeInTheContractsOrder) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const std::string both = "where { prompts: 0 } } ";
  const Job job = MakeJob(absl::StrCat(
      "probes { place { site: SITE_EMBED ", both,
      "statistics: STATISTIC_MEAN } probes { place { site: SITE_LN_F_OUT ", both,
      "statistics: STATISTIC_MEAN } probes { place { site: SITE_Z ", both,
      "statistics: STATISTIC_MEAN } ", "captures { name: \"embed\" place { site: SITE_EMBED ", both,
      "} captures { name: \"out\" place { site: SITE_LOGITS ", both,
      "} captures { name: \"z\" place { site: SITE_Z ", both, "} ",
      "interventions { place { site: SITE_Z } zero {} } interventions { place { site: SITE_EMBED } "
      "scale { factor: 2 } } ",
      "block_outputs { layers: 1 } output_attentions: true output_hidden_states: true"));
  ASSERT_TRUE(scheduler.Submit(job).ok());
  std::vector<Event> events;
  ASSERT_TRUE(WaitForEnd(*job.stream, &events).ok());
  EXPECT_THAT(Words(events),
              ::testing::ElementsAre(
                  "statistics@-", "embed@-",  // embeddings
                  "statistics@0", "hidden_states[0]@-", "hidden_states[0]@-",
                  "z@0",                                       // two lengths, two batches
                  "hidden_states[1]@-", "hidden_states[1]@-",  //
                  "statistics@1", "tuple@1", "block_outputs[1][0]@1", "block_outputs[1][1]@1",  //
                  "tuple@1", "block_outputs[1][0]@1", "block_outputs[1][1]@1",                  //
                  "z@1", "hidden_states[2]@-", "hidden_states[2]@-",                            //
                  "statistics@2", "z@2",                                                        //
                  "statistics@-", "hidden_states[3]@-", "hidden_states[3]@-",
                  "out@-",  // behind the last block
                  "logits of 0", "logits of 1", "report 0", "report 1", "finished"));
  std::set<uint32_t> ids;
  int64_t tensor_bytes = 0;
  for (const Event& event : events) {
    if (!event.tensor) continue;
    const v1::TensorHeader& header = event.tensor->header;
    EXPECT_TRUE(ids.insert(header.tensor_id()).second);
    EXPECT_EQ(header.size_bytes(), event.tensor->bytes.size());
    tensor_bytes += static_cast<int64_t>(event.tensor->bytes.size());
  }
  EXPECT_EQ(*ids.rbegin(), ids.size() - 1);
  EXPECT_EQ(events.back().message.finished().tensor_bytes(), tensor_bytes);
  EXPECT_EQ(events.back().message.finished().tokens_computed(), 7);
  for (size_t i = 0; i + 2 < events.size(); ++i) {
    if (!events[i].message.has_block_output()) continue;
    const v1::BlockOutput& tuple = events[i].message.block_output();
    ASSERT_EQ(tuple.tensor_ids_size(), 2);
    EXPECT_EQ(tuple.tensor_ids(0), events[i + 1].tensor->header.tensor_id());
    EXPECT_EQ(tuple.tensor_ids(1), events[i + 2].tensor->header.tensor_id());
  }
}

TEST(Scheduler, ManyCallersGetTheAnswersThatTheyWouldGetAlone) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const auto text = [](int i) {
    return absl::StrCat("interventions { place { site: SITE_Z } noise { seed: ", i, " } }");
  };
  std::vector<std::thread> callers;
  std::vector<std::string> expected(12), got(12);
  for (int i = 0; i < 12; ++i) expected[i] = test::Ask(text(i)).Logits(0).SerializeAsString();
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = caller; i < 12; i += 4) {
        const Job job = MakeJob(text(i));
        if (!scheduler.Submit(job).ok()) continue;
        test::Answer answer;
        if (WaitForEnd(*job.stream, &answer.events).ok())
          got[i] = answer.Logits(0).SerializeAsString();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(got, expected);
  EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), 12u);
}

// ---- waves --------------------------------------------------------------------------------------

// Work of many tasks, each the same plan. Notes how many were done when `other` ended.
class ManyTasks final : public Work {
 public:
  ManyTasks(int tasks, std::shared_ptr<EventStream> other)
      : left_(tasks), tasks_(tasks), other_(std::move(other)) {}

  const std::string& request_id() const override { return id_; }
  absl::Status StillWanted() const override {
    return engine::StillWanted(*stream_, absl::InfiniteFuture());
  }
  std::unique_ptr<Task> Next() override {
    if (left_ == 0) return nullptr;
    --left_;
    return std::make_unique<Task>(Task{.plan = plan_, .sink = stream_, .clean = {}});
  }
  bool Finished() const override { return done_ == tasks_; }
  void Done(const Task&, TaskResult result) override {
    EXPECT_EQ(result.logits.size(), 2u);
    while (other_ != nullptr && other_->Pop()) {  // its reader may not have been awake meanwhile
    }
    if (other_ == nullptr || !other_->End()) ++done_before_other_;
    ++done_;
  }
  void Close(const absl::Status& status) override { stream_->Close(status); }
  void Abort(const absl::Status& status) override { stream_->Close(status); }

  EventStream& stream() { return *stream_; }
  int done() const { return done_; }
  int done_before_other() const { return done_before_other_; }

 private:
  const std::string id_ = "many";
  const std::shared_ptr<const spec::Plan> plan_ = test::CompileOrThrow(test::RequestOf(""));
  const std::shared_ptr<EventStream> stream_ = std::make_shared<EventStream>();
  int left_;
  const int tasks_;
  const std::shared_ptr<EventStream> other_;
  std::atomic<int> done_ = 0, done_before_other_ = 0;
};

TEST_F(BusyScheduler, ALongWorkDelaysAnotherByAWaveAtMost) {
  Start({.wave_tokens_max = 14, .baseline_cache_bytes_max = 0});  // two tasks of seven tokens
  const Job run = MakeJob("");
  const auto sweep = std::make_shared<ManyTasks>(40, run.stream);
  ASSERT_TRUE(scheduler_->Submit(sweep, sweep->stream(), 0).ok());
  ASSERT_TRUE(scheduler_->Submit(run).ok());
  gate_->Release();
  EXPECT_TRUE(WaitForEnd(*run.stream).ok());
  EXPECT_TRUE(WaitForEnd(sweep->stream()).ok());
  EXPECT_EQ(sweep->done(), 40);
  EXPECT_LE(sweep->done_before_other(), 2);  // they shared its wave
}

TEST_F(BusyScheduler, WhatNobodyWaitsForLeavesTheOthersTheirWave) {
  Start();
  const Job first = MakeJob(), second = MakeJob();
  const auto sweep = std::make_shared<ManyTasks>(1000, nullptr);
  ASSERT_TRUE(scheduler_->Submit(sweep, sweep->stream(), 0).ok());
  ASSERT_TRUE(scheduler_->Submit(first).ok());
  ASSERT_TRUE(scheduler_->Submit(second).ok());
  sweep->stream().Cancel();
  first.stream->Cancel();
  gate_->Release();
  EXPECT_EQ(WaitForEnd(*first.stream).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(WaitForEnd(sweep->stream()).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(WaitForEnd(*second.stream).ok());
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  EXPECT_EQ(sweep->done(), 0);
}

// ---- cancellation and deadlines -----------------------------------------------------------------

TEST_F(BusyScheduler, CancelledInTheQueueNothingIsComputed) {
  Start();
  const Job waiting = MakeJob();
  ASSERT_TRUE(scheduler_->Submit(waiting).ok());
  waiting.stream->Cancel();
  gate_->Release();
  EXPECT_EQ(WaitForEnd(*waiting.stream).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(WaitForEnd(*running_.stream).ok());
}

// gRPC may begin the next call on the thread that tells it of an end.
TEST_F(BusyScheduler, WhoeverHearsOfAnEndMayComeBackAtOnce) {
  Start({.queue_max = 1});
  const Job dropped_by_submit = MakeJob(), dropped_by_the_engine = MakeJob();
  std::atomic<int> came_back = 0;
  for (const Job* job : {&dropped_by_submit, &dropped_by_the_engine}) {
    ASSERT_TRUE(scheduler_->Submit(*job).ok());
    job->stream->SetReady([this, &came_back, stream = job->stream.get()] {
      if (!stream->End()) return;
      scheduler_->counts();
      ++came_back;
    });
    job->stream->Cancel();
  }
  EXPECT_EQ(came_back, 1);
  gate_->Release();
  EXPECT_EQ(WaitForEnd(*dropped_by_the_engine.stream).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  EXPECT_EQ(came_back, 2);
}

TEST_F(BusyScheduler, CancelledWhileItRunsItEndsAsCancelled) {
  Start();  // held in the statistics of layer 0
  running_.stream->Cancel();
  gate_->Release();
  std::vector<Event> events;
  EXPECT_EQ(WaitForEnd(*running_.stream, &events).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(events.empty());
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
}

TEST_F(BusyScheduler, ADeadlineInTheQueueIsNoticedWithoutComputing) {
  Start();
  Job waiting = MakeJob();
  waiting.deadline = absl::Now() + absl::Milliseconds(1);
  ASSERT_TRUE(scheduler_->Submit(waiting).ok());
  absl::SleepFor(absl::Milliseconds(2));
  gate_->Release();
  std::vector<Event> events;
  EXPECT_EQ(WaitForEnd(*waiting.stream, &events).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(events.empty());
}

TEST(Scheduler, ADeadlineStopsTheWorkWithinOneLayer) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  Job job = MakeJob();
  Gate gate(*job.stream);
  job.deadline = absl::Now() + absl::Seconds(3);  // ample for one layer of a tiny model
  ASSERT_TRUE(scheduler.Submit(job).ok());
  gate.WaitUntilHeld();
  absl::SleepFor(job.deadline - absl::Now() + absl::Milliseconds(1));
  gate.Release();
  std::vector<Event> events;
  EXPECT_EQ(WaitForEnd(*job.stream, &events).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Words(events), ::testing::ElementsAre("statistics@0"));
}

// ---- admission ----------------------------------------------------------------------------------

TEST_F(BusyScheduler, AFullQueueSaysWhenToComeBack) {
  Start({.queue_max = 2});
  const Job first = MakeJob(), second = MakeJob();
  ASSERT_TRUE(scheduler_->Submit(first).ok());
  ASSERT_TRUE(scheduler_->Submit(second).ok());
  const absl::Status full = scheduler_->Submit(MakeJob());
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("the queue is full (2 requests)"));
  EXPECT_GT(RetryOf(full).retry_delay().nanos(), 0);
  // Whoever has left makes room.
  first.stream->Cancel();
  EXPECT_TRUE(scheduler_->Submit(MakeJob()).ok());
  EXPECT_EQ(WaitForEnd(*first.stream).code(), absl::StatusCode::kCancelled);
  gate_->Release();
  EXPECT_TRUE(WaitForEnd(*second.stream).ok());
}

TEST(Scheduler, ReservedBytesAreHeldUntilTheStreamDies) {
  const int64_t bytes = MakeJob().plan->started.cost().response_bytes();
  Scheduler scheduler(test::TinyGpt2(), {.buffered_bytes_max = 2 * bytes});
  auto first = std::make_unique<Job>(MakeJob());
  const Job second = MakeJob();
  ASSERT_TRUE(scheduler.Submit(*first).ok());
  ASSERT_TRUE(scheduler.Submit(second).ok());
  ASSERT_TRUE(WaitForEnd(*second.stream).ok());
  ASSERT_TRUE(scheduler.WaitIdle(kPatience));
  const absl::Status full =
      scheduler.Submit(MakeJob());  // both are done, and nobody has read the first
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("are waiting for their readers"));
  EXPECT_GT(RetryOf(full).retry_delay().nanos(), 0);
  first.reset();
  EXPECT_TRUE(scheduler.Submit(MakeJob()).ok());
}

TEST(Scheduler, StreamsOutliveIt) {
  const Job job = MakeJob();
  {
    Scheduler scheduler(test::TinyGpt2(), Limits());
    ASSERT_TRUE(scheduler.Submit(job).ok());
    EXPECT_TRUE(scheduler.WaitIdle(kPatience));
  }
  EXPECT_TRUE(WaitForEnd(*job.stream).ok());
}

// ---- counts -------------------------------------------------------------------------------------

double PlainFlops(const Job& job) { return job.plan->started.cost().flops(); }

TEST(SchedulerCounts, AFullComputationIsCountedAsItsCost) {
  Scheduler scheduler(test::TinyGpt2(), {.baseline_cache_bytes_max = 0});
  const Job job = MakeJob();
  ASSERT_TRUE(scheduler.Submit(job).ok());
  ASSERT_TRUE(WaitForEnd(*job.stream).ok());
  const Counts counts = scheduler.counts();
  EXPECT_EQ(counts.waves, 1);
  EXPECT_EQ(counts.done.rows, 2);
  EXPECT_EQ(counts.done.tokens, 7);
  EXPECT_EQ(counts.done.tokens_computed, 7);
  EXPECT_DOUBLE_EQ(counts.done.flops, PlainFlops(job));
  // In the last layer, only positions that somebody reads have queries; here that is every one.
  EXPECT_DOUBLE_EQ(counts.done.flops_computed, PlainFlops(job));
  EXPECT_GT(counts.busy, absl::ZeroDuration());
}

TEST(SchedulerCounts, WhoeverHasAnAnswerFindsItsPromptsInTheCache) {
  std::atomic<int64_t> entries = -1;
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Job job = MakeJob();
  job.stream->SetReady([&] {
    while (job.stream->Pop()) continue;
    if (job.stream->End()) entries = scheduler.cache_counts().entries;
  });
  ASSERT_TRUE(scheduler.Submit(job).ok());
  ASSERT_TRUE(scheduler.WaitIdle(kPatience));
  EXPECT_EQ(entries, 2);
}

TEST(SchedulerCounts, WhatTheCacheKnowsIsSaved) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Job first = MakeJob(), second = MakeJob();
  for (const Job& job : {first, second}) {
    ASSERT_TRUE(scheduler.Submit(job).ok());
    ASSERT_TRUE(WaitForEnd(*job.stream).ok());
  }
  const Counts counts = scheduler.counts();
  EXPECT_EQ(counts.waves, 2);
  EXPECT_EQ(counts.done.rows, 4);
  EXPECT_EQ(counts.done.tokens, 14);
  EXPECT_LE(counts.done.tokens_computed, 14);
  EXPECT_DOUBLE_EQ(counts.done.flops, 2 * PlainFlops(first));
  EXPECT_GE(counts.done.flops_computed, PlainFlops(first));
  EXPECT_LT(counts.done.flops_computed, 1.6 * PlainFlops(first));
}

TEST_F(BusyScheduler, CountsWhatWaitsAndWhatRuns) {
  Start();
  const Job waiting = MakeJob();
  ASSERT_TRUE(scheduler_->Submit(waiting).ok());
  Counts counts = scheduler_->counts();
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

TEST_F(BusyScheduler, WhatIsCancelledCostsTimeAndCountsNoRows) {
  Start();
  running_.stream->Cancel();
  gate_->Release();
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  const Counts counts = scheduler_->counts();
  EXPECT_EQ(counts.waves, 1);
  EXPECT_EQ(counts.done.rows, 0);
  EXPECT_GT(counts.busy, absl::ZeroDuration());
}

TEST_F(BusyScheduler, ARefusalSaysWhy) {
  Start({.queue_max = 1});
  ASSERT_TRUE(scheduler_->Submit(MakeJob()).ok());
  EXPECT_EQ(ReasonOf(scheduler_->Submit(MakeJob())), Reason::kQueueFull);
  Scheduler small(test::TinyGpt2(), {.buffered_bytes_max = 1});
  EXPECT_EQ(ReasonOf(small.Submit(MakeJob())), Reason::kBufferedBytes);
}

// ---- failure ------------------------------------------------------------------------------------

// A model whose position embeddings end after three tokens, whatever its config says: libtorch
// throws at four.
TEST(Scheduler, AnExceptionIsInternalAndTheNextRequestIsFine) {
  model::Weights weights = model::RandomWeights(test::TinyConfig(), 1);
  weights.wpe = weights.wpe.narrow(0, 0, 3);
  const model::Gpt2 broken(test::TinyConfig(), std::move(weights), at::kCPU);
  Scheduler scheduler(broken, Limits());
  const Job four = MakeJob(kLayers, "the-request");
  const Job three = {.request_id = "next",
                     .plan = test::CompileOrThrow(test::FromText<v1::RunRequest>(
                         "prompts { token_ids { ids: [1, 2, 3] } }")),
                     .stream = std::make_shared<EventStream>()};
  ASSERT_TRUE(scheduler.Submit(four).ok());
  const absl::Status status = WaitForEnd(*four.stream);
  ASSERT_TRUE(scheduler.Submit(three).ok());
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("request id the-request"));
  for (const char* leak : {"narrow", "Tensor", "aten", ".cpp", "0x", "length"}) {
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(leak)));
  }
  std::vector<Event> events;
  EXPECT_TRUE(WaitForEnd(*three.stream, &events).ok());
  EXPECT_THAT(Words(events), ::testing::ElementsAre("logits of 0", "finished"));
}

// As a GPU's error comes: in the midst of a wave, and for good.
TEST(Scheduler, AFailedDeviceAnswersAllWithUnavailableAndSaysSoOnce) {
  absl::Notification failed;  // notified twice, it would end the test
  Scheduler scheduler(test::TinyGpt2(), Limits(), [&failed] { failed.Notify(); });
  const Job first = MakeJob();
  const std::unique_ptr<Gate> gate = std::make_unique<Gate>(*first.stream);
  ASSERT_TRUE(scheduler.Submit(first).ok());
  gate->WaitUntilHeld();
  const Job second = MakeJob(), waiting = MakeJob();
  second.stream->SetReady([calls = std::make_shared<int>(0)] {
    if (++*calls == 2) throw c10::AcceleratorError({"", "", 0}, 710, "device-side assert");
  });
  ASSERT_TRUE(scheduler.Submit(second).ok());
  ASSERT_TRUE(scheduler.Submit(waiting).ok());
  gate->Release();
  EXPECT_TRUE(WaitForEnd(*first.stream).ok());
  for (const Job& job : {second, waiting}) {
    const absl::Status status = WaitForEnd(*job.stream);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr("device has failed"));
  }
  ASSERT_TRUE(failed.WaitForNotificationWithTimeout(kPatience));
  EXPECT_EQ(scheduler.Submit(MakeJob()).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(scheduler.WaitIdle(kPatience));
}

// ---- shutting down ------------------------------------------------------------------------------

TEST_F(BusyScheduler, DrainsWhatItTookAndTakesNoMore) {
  Start();
  const Job waiting = MakeJob();
  ASSERT_TRUE(scheduler_->Submit(waiting).ok());
  scheduler_->StopAdmission();
  EXPECT_EQ(scheduler_->Submit(MakeJob()).code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(scheduler_->WaitIdle(absl::Milliseconds(5)));
  gate_->Release();
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  EXPECT_TRUE(WaitForEnd(*running_.stream).ok());
  EXPECT_TRUE(WaitForEnd(*waiting.stream).ok());
}

TEST_F(BusyScheduler, CancelAllEndsEveryStreamAsUnavailable) {
  Start();
  const Job waiting = MakeJob();
  ASSERT_TRUE(scheduler_->Submit(waiting).ok());
  scheduler_->CancelAll();
  EXPECT_EQ(WaitForEnd(*waiting.stream).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(WaitForEnd(*running_.stream).code(), absl::StatusCode::kUnavailable);
  gate_->Release();
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  const Job next = MakeJob();
  EXPECT_TRUE(scheduler_->Submit(next).ok());  // the engine itself goes on
  EXPECT_TRUE(WaitForEnd(*next.stream).ok());
}

TEST_F(BusyScheduler, TheDestructorLeavesNoStreamOpen) {
  Start();
  const Job waiting = MakeJob();
  ASSERT_TRUE(scheduler_->Submit(waiting).ok());
  std::thread opener([this] {  // the destructor waits for the engine's thread
    while (!running_.stream->cancelled()) absl::SleepFor(absl::Milliseconds(1));
    gate_->Release();
  });
  scheduler_.reset();
  opener.join();
  EXPECT_EQ(WaitForEnd(*running_.stream).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(WaitForEnd(*waiting.stream).code(), absl::StatusCode::kUnavailable);
}

// ---- sweeps -------------------------------------------------------------------------------------

Job MakeSweep(absl::Time deadline = absl::InfiniteFuture()) {
  return {.request_id = "sweep",
          .sweep = test::CompileSweepOrThrow(test::SweepOf(R"(
              grid { interventions { place { site: SITE_EMBED } scale {} } axes { values { values:
                  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19] } } }
              metrics { kl_from_clean {} })")),
          .stream = std::make_shared<EventStream>(),
          .deadline = deadline};
}

TEST(SchedulerSweeps, RunToTheirEnd) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Job job = MakeSweep();
  ASSERT_TRUE(scheduler.Submit(job).ok());
  std::vector<Event> events;
  EXPECT_TRUE(WaitForEnd(*job.stream, &events).ok());
  ASSERT_FALSE(events.empty());
  EXPECT_TRUE(events.back().sweep->has_finished());
  EXPECT_EQ(events.back().sweep->finished().variants(), 20);
}

// A sweep of many waves: what comes later takes part in the next one.
TEST(SchedulerSweeps, LetARunPass) {
  Limits limits;
  limits.wave_tokens_max = 7;  // one variant
  Scheduler scheduler(test::TinyGpt2(), limits);
  const Job sweep = MakeSweep();
  Gate gate(*sweep.stream);
  ASSERT_TRUE(scheduler.Submit(sweep).ok());
  gate.WaitUntilHeld();
  const Job run = MakeJob();
  ASSERT_TRUE(scheduler.Submit(run).ok());
  gate.Release();
  EXPECT_TRUE(WaitForEnd(*run.stream).ok());
  std::vector<Event> events;
  EXPECT_TRUE(WaitForEnd(*sweep.stream, &events).ok());
  EXPECT_EQ(events.back().sweep->finished().variants(), 20);
}

TEST(SchedulerSweeps, EndWithTheirDeadlineOrTheirCaller) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Job late = MakeSweep(absl::Now() - absl::Seconds(1));
  ASSERT_TRUE(scheduler.Submit(late).ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(WaitForEnd(*late.stream)));
  const Job left = MakeSweep();
  left.stream->Cancel();
  ASSERT_TRUE(scheduler.Submit(left).ok());
  EXPECT_TRUE(absl::IsCancelled(WaitForEnd(*left.stream)));
}

}  // namespace
}  // namespace scalpel::engine
