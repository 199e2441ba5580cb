// Which events come in which order, and who shares a wave with whom.

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
using test::kPatience;
using test::MakeRun;
using test::MakeSweep;
using test::WaitForEnd;
using test::Words;

// ---- events -------------------------------------------------------------------------------------

TEST(Scheduler, SendsEventsInTheOrderOfTheContract) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const std::string both = "where { prompts: 0 } } ";
  const Call call = MakeRun(absl::StrCat(
      "probes { place { site: SITE_EMBED ", both,
      "statistics: STATISTIC_MEAN } probes { place { site: SITE_LN_F_OUT ", both,
      "statistics: STATISTIC_MEAN } probes { place { site: SITE_Z ", both,
      "statistics: STATISTIC_MEAN } ", "captures { name: \"embed\" place { site: SITE_EMBED ", both,
      "} captures { name: \"out\" place { site: SITE_LOGITS ", both,
      "} captures { name: \"z\" place { site: SITE_Z ", both, "} ",
      "interventions { place { site: SITE_Z } zero {} } interventions { place { site: SITE_EMBED } "
      "scale { factor: 2 } } ",
      "block_outputs { layers: 1 } output_attentions: true output_hidden_states: true"));
  ASSERT_TRUE(scheduler.Submit(call.job).ok());
  std::vector<Event> events;
  ASSERT_TRUE(WaitForEnd(*call.stream, &events).ok());
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

TEST(Scheduler, AnswersDoNotDependOnOtherCallers) {
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
        const Call call = MakeRun(text(i));
        if (!scheduler.Submit(call.job).ok()) continue;
        test::Answer answer;
        if (WaitForEnd(*call.stream, &answer.events).ok())
          got[i] = answer.Logits(0).SerializeAsString();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(got, expected);
  EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), 12u);
}

// ---- waves --------------------------------------------------------------------------------------

// A job of many tasks, each the same plan. Notes how many were done when `other` ended.
class ManyTasks final : public Job {
 public:
  ManyTasks(int tasks, std::shared_ptr<EventStream> other)
      : Job(std::make_shared<EventStream>("many")),
        left_(tasks),
        tasks_(tasks),
        other_(std::move(other)) {}

  int64_t response_bytes() const override { return 0; }
  std::optional<Task> NextTask() override {
    if (left_ == 0) return std::nullopt;
    --left_;
    return Task{.job = shared_from_this(),
                .plan = plan_,
                .sink = std::make_shared<NoSink>(),
                .done = [this](const TaskResult& result) { TaskDone(result); }};
  }
  bool AllDone() const override { return done_ == tasks_; }
  void Finish(Locator) override {}

  int done() const { return done_; }
  int done_before_other() const { return done_before_other_; }

 private:
  class NoSink final : public TaskSink {
   public:
    void Restart() override {}
    void Push(Event) override {}
  };

  void TaskDone(const TaskResult& result) {
    EXPECT_EQ(result.logits.size(), 2u);
    while (other_ != nullptr && other_->Pop()) {  // its reader may not have been awake meanwhile
    }
    if (other_ == nullptr || !other_->End()) ++done_before_other_;
    ++done_;
  }

  const std::shared_ptr<const spec::Plan> plan_ = test::CompileOrThrow(test::RequestOf(""));
  int left_;
  const int tasks_;
  const std::shared_ptr<EventStream> other_;
  std::atomic<int> done_ = 0, done_before_other_ = 0;
};

TEST_F(BusyScheduler, ALongJobDelaysAnotherByAWaveAtMost) {
  Start(test::LimitsOf("wave_tokens: 14 baseline_cache_bytes: 0"));  // two tasks of seven tokens
  const Call run = MakeRun("");
  const auto sweep = std::make_shared<ManyTasks>(40, run.stream);
  ASSERT_TRUE(scheduler_->Submit(sweep).ok());
  ASSERT_TRUE(scheduler_->Submit(run.job).ok());
  gate_->Release();
  EXPECT_TRUE(WaitForEnd(*run.stream).ok());
  EXPECT_TRUE(WaitForEnd(sweep->stream()).ok());
  EXPECT_EQ(sweep->done(), 40);
  EXPECT_LE(sweep->done_before_other(), 2);  // they shared its wave
}

TEST_F(BusyScheduler, AbandonedWorkTakesNoPartInAWave) {
  Start();
  const Call first = MakeRun(), second = MakeRun();
  const auto sweep = std::make_shared<ManyTasks>(1000, nullptr);
  ASSERT_TRUE(scheduler_->Submit(sweep).ok());
  ASSERT_TRUE(scheduler_->Submit(first.job).ok());
  ASSERT_TRUE(scheduler_->Submit(second.job).ok());
  sweep->stream().Cancel();
  first.stream->Cancel();
  gate_->Release();
  EXPECT_EQ(WaitForEnd(*first.stream).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(WaitForEnd(sweep->stream()).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(WaitForEnd(*second.stream).ok());
  EXPECT_TRUE(scheduler_->WaitIdle(kPatience));
  EXPECT_EQ(sweep->done(), 0);
}

// ---- sweeps -------------------------------------------------------------------------------------

// Twenty variants.
constexpr char kScales[] = R"(
    grid { interventions { place { site: SITE_EMBED } scale {} } axes { values { values:
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19] } } }
    metrics { kl_from_clean {} })";

TEST(SchedulerSweeps, RunToTheirEnd) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Call call = MakeSweep(kScales);
  ASSERT_TRUE(scheduler.Submit(call.job).ok());
  std::vector<Event> events;
  EXPECT_TRUE(WaitForEnd(*call.stream, &events).ok());
  ASSERT_FALSE(events.empty());
  EXPECT_TRUE(events.back().sweep->has_finished());
  EXPECT_EQ(events.back().sweep->finished().variants(), 20);
}

// A sweep of many waves: what comes later takes part in the next one.
TEST(SchedulerSweeps, LetARunJoinTheNextWave) {
  Limits limits;
  limits->set_wave_tokens(7);  // one variant
  Scheduler scheduler(test::TinyGpt2(), limits);
  const Call sweep = MakeSweep(kScales);
  Gate gate(*sweep.stream);
  ASSERT_TRUE(scheduler.Submit(sweep.job).ok());
  gate.WaitUntilHeld();
  const Call run = MakeRun();
  ASSERT_TRUE(scheduler.Submit(run.job).ok());
  gate.Release();
  EXPECT_TRUE(WaitForEnd(*run.stream).ok());
  std::vector<Event> events;
  EXPECT_TRUE(WaitForEnd(*sweep.stream, &events).ok());
  EXPECT_EQ(events.back().sweep->finished().variants(), 20);
}

TEST(SchedulerSweeps, EndWhenTheDeadlinePassesOrTheCallerLeaves) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Call late = MakeSweep(kScales, absl::Now() - absl::Seconds(1));
  ASSERT_TRUE(scheduler.Submit(late.job).ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(WaitForEnd(*late.stream)));
  const Call left = MakeSweep(kScales);
  left.stream->Cancel();
  ASSERT_TRUE(scheduler.Submit(left.job).ok());
  EXPECT_TRUE(absl::IsCancelled(WaitForEnd(*left.stream)));
}

}  // namespace
}  // namespace scalpel::engine
