// What fails, and whose failure it is.

#include "server/engine/failure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <new>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "server/base/errors.h"
#include "tests/unit/support/busy_engine.h"
#include "tests/unit/support/limits.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::Call;
using test::Gate;
using test::kLayers;
using test::kPatience;
using test::MakeRun;
using test::WaitForEnd;
using test::Words;

using ::testing::HasSubstr;
using ::testing::Not;

// A model whose position embeddings end after three tokens, whatever its config says: libtorch
// throws at four, in the part of the pass that all rows share.
const model::Gpt2& BrokenGpt2() {
  static const auto* broken = [] {
    model::Weights weights = model::RandomWeights(test::TinyConfig(), 1);
    weights.wpe = weights.wpe.narrow(0, 0, 3);
    return new model::Gpt2(test::TinyConfig(), std::move(weights), at::kCPU);
  }();
  return *broken;
}

Call MakePrompt(const std::string& ids, const std::string& request_id) {
  return MakeRun(
      test::CompileOrThrow(test::FromText<v1::RunRequest>(absl::StrCat(
          "prompts { token_ids { ids: [", ids, "] } } logits { top_k { k: 5 } } ", kLayers))),
      request_id);
}

TEST(Failure, AnExceptionIsInternalAndTheNextRequestIsFine) {
  Scheduler scheduler(BrokenGpt2(), Limits());
  const Call four = MakePrompt("1, 2, 3, 4", "the-request");
  const Call three = MakePrompt("1, 2, 3", "next");
  ASSERT_TRUE(scheduler.Submit(four.job).ok());
  const absl::Status status = WaitForEnd(*four.stream);
  ASSERT_TRUE(scheduler.Submit(three.job).ok());
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("request id the-request"));
  for (const char* leak : {"narrow", "Tensor", "aten", ".cpp", "0x", "length"}) {
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(leak)));
  }
  std::vector<Event> events;
  EXPECT_TRUE(WaitForEnd(*three.stream, &events).ok());
  EXPECT_THAT(Words(events), ::testing::ElementsAre("statistics@0", "statistics@1", "statistics@2",
                                                    "logits of 0", "finished"));
}

TEST(Failure, OfAWaveOnlyTheGuiltyFail) {
  Scheduler scheduler(BrokenGpt2(), test::LimitsOf("baseline_cache_bytes: 0"));
  const auto ask_alone = [&](const std::string& ids) {
    const Call call = MakePrompt(ids, "alone");
    test::Answer answer;
    EXPECT_TRUE(scheduler.Submit(call.job).ok());
    EXPECT_TRUE(WaitForEnd(*call.stream, &answer.events).ok());
    return answer.Facts();
  };
  const std::vector<std::string> prompts = {"1",       "2",          "1, 2, 3, 4", "3, 4",
                                            "5, 6, 7", "4, 3, 2, 1", "8, 9"};
  std::vector<std::map<std::string, std::string>> alone;
  for (const std::string& ids : prompts)
    alone.push_back(ids.size() < 10 ? ask_alone(ids) : std::map<std::string, std::string>());
  const int64_t waves_alone = scheduler.counts().waves;

  const Call first = MakePrompt("1", "first");
  std::vector<Call> calls;
  {
    Gate gate(*first.stream);
    ASSERT_TRUE(scheduler.Submit(first.job).ok());
    gate.WaitUntilHeld();
    for (const std::string& ids : prompts) {
      calls.push_back(MakePrompt(ids, absl::StrCat("call-", calls.size())));
      ASSERT_TRUE(scheduler.Submit(calls.back().job).ok());
    }
  }
  for (size_t i = 0; i < calls.size(); ++i) {
    test::Answer answer;
    const absl::Status status = WaitForEnd(*calls[i].stream, &answer.events);
    if (prompts[i].size() < 10) {
      EXPECT_TRUE(status.ok()) << i << status;
      EXPECT_EQ(answer.events.size(), 5u) << i;  // three layers, logits, `finished`
      EXPECT_EQ(answer.Facts(), alone[i]) << i;
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << i;
      EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("call-", i)));
    }
  }
  EXPECT_TRUE(scheduler.WaitIdle(kPatience));
  // `first`; seven; then its halves, of three and of four: each fails, and so does one of its own
  // halves, whose two tasks run alone.
  EXPECT_EQ(scheduler.counts().waves - waves_alone, 1 + 1 + (1 + 2 + 2) + (1 + 2 + 2));
}

// The memory of a task's own part: the others in its wave do not even run again.
TEST(Failure, OneWithoutMemoryIsToldToComeBack) {
  Scheduler scheduler(test::TinyGpt2(), Limits());
  const Call first = MakeRun(), greedy = MakeRun(kLayers, "greedy"), other = MakeRun();
  {
    Gate gate(*first.stream);
    ASSERT_TRUE(scheduler.Submit(first.job).ok());
    gate.WaitUntilHeld();
    greedy.stream->SetReady([calls = std::make_shared<int>(0)] {
      ++*calls;
      if (*calls == 2 || *calls == 3) throw std::bad_alloc();  // in company, and alone
    });
    ASSERT_TRUE(scheduler.Submit(greedy.job).ok());
    ASSERT_TRUE(scheduler.Submit(other.job).ok());
  }
  EXPECT_TRUE(WaitForEnd(*other.stream).ok());
  const absl::Status status = WaitForEnd(*greedy.stream);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), Reason::kOutOfMemory);
  EXPECT_TRUE(scheduler.WaitIdle(kPatience));
  EXPECT_EQ(scheduler.counts().waves, 3);
}

// As a GPU's error comes: in the midst of a wave, and for good.
TEST(Failure, AFailedDeviceAnswersAllWithUnavailableAndSaysSoOnce) {
  absl::Notification failed;  // notified twice, it would end the test
  Scheduler scheduler(test::TinyGpt2(), Limits(), [&failed] { failed.Notify(); });
  const Call first = MakeRun();
  const std::unique_ptr<Gate> gate = std::make_unique<Gate>(*first.stream);
  ASSERT_TRUE(scheduler.Submit(first.job).ok());
  gate->WaitUntilHeld();
  const Call second = MakeRun(), waiting = MakeRun();
  second.stream->SetReady([calls = std::make_shared<int>(0)] {
    if (++*calls == 2) throw c10::AcceleratorError({"", "", 0}, 710, "device-side assert");
  });
  ASSERT_TRUE(scheduler.Submit(second.job).ok());
  ASSERT_TRUE(scheduler.Submit(waiting.job).ok());
  gate->Release();
  EXPECT_TRUE(WaitForEnd(*first.stream).ok());
  for (const Call& call : {second, waiting}) {
    const absl::Status status = WaitForEnd(*call.stream);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr("device has failed"));
  }
  ASSERT_TRUE(failed.WaitForNotificationWithTimeout(kPatience));
  EXPECT_EQ(scheduler.Submit(MakeRun().job).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(scheduler.WaitIdle(kPatience));
}

}  // namespace
}  // namespace scalpel::engine
