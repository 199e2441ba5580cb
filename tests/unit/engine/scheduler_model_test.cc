// The scheduler under random calls, callers that leave or read slowly, deadlines, failures and
// shutdowns. Each call is checked against what it gets alone, and the scheduler against a few sums.
//
// The engine's thread takes part, so a seed repeats the steps and not their timing: a failure shows
// the last steps. While a call is held in the engine, nothing else moves, and the queue is known to
// the place. In builds with SCALPEL_FAULTS calls have faults too.

#include "tests/unit/engine/scheduler_model.h"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/engine/scheduler.h"
#include "tests/unit/support/busy_engine.h"
#include "tests/unit/support/limits.h"
#include "tests/unit/support/throw.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::Below;
using test::Chance;
using test::kPatience;
using test::Wrong;

#ifdef __SANITIZE_THREAD__
constexpr int64_t kSteps = 4'000;  // about ten times as slow
#else
constexpr int64_t kSteps = 20'000;
#endif
constexpr size_t kLastSteps = 40;  // shown
constexpr size_t kCallsMax = 12;
constexpr int64_t kQueueMax = 5;
constexpr int64_t kCacheBytes = 30'000;

class SchedulerModel : public ::testing::Test {
 protected:
  SchedulerModel() {
    spdlog::set_level(spdlog::level::off);  // a line for each fault
    int64_t largest = 0;
    for (const Stocked& stocked : stock_) largest = std::max(largest, stocked.bytes);
    buffered_max_ = 3 * largest;
#ifdef SCALPEL_FAULTS
    Faults() = [this](FaultPoint point, std::string_view id) { faults_.Pass(point, id); };
#endif
    Open();
  }
  ~SchedulerModel() override {
    gate_.reset();
    scheduler_.reset();
    spdlog::set_level(log_level_);
#ifdef SCALPEL_FAULTS
    Faults() = nullptr;
#endif
  }

  // One step; says what went wrong.
  Wrong Step() {
    const double choice = static_cast<double>(Below(random_, 1000)) / 1000;
    if (choice < 0.40) return calls_.size() < kCallsMax ? Submit() : ReadAll(3);
    if (choice < 0.65) return ReadOne();
    if (choice < 0.70) return CancelOne();
    if (choice < 0.80) return DropEnded();
    if (choice < 0.90) return Pause();
    if (choice < 0.95) return CheckCounts();
    if (choice < 0.97) return Hold();
    if (choice < 0.99) return Settle();
    return choice < 0.995 ? EndAll() : Drain();
  }

  std::string LastSteps() const { return absl::StrJoin(last_, "\n  "); }

  test::Random random_{test::GivenSeed().value_or(1)};

 private:
  struct Sums {
    int64_t rows = 0, tokens = 0;
    void Add(const Stocked& stocked) {
      rows += stocked.rows;
      tokens += stocked.tokens;
    }
  };

  void Note(std::string step) {
    last_.push_back(std::move(step));
    if (last_.size() > kLastSteps) last_.pop_front();
  }
  bool held() const { return gate_ != nullptr; }
  int64_t BytesHeld() const {
    int64_t bytes = gated_.stream == nullptr ? 0 : gated_.plan->started.cost().response_bytes();
    for (const auto& call : calls_) bytes += call->what().bytes;
    return bytes;
  }

  void Open() {
    const std::string limits =
        absl::StrCat("max_queue: ", kQueueMax, " wave_tokens: 24 ",
                     "max_buffered_bytes: ", buffered_max_, " baseline_cache_bytes: ", kCacheBytes);
    scheduler_ = std::make_unique<Scheduler>(test::TinyGpt2(), test::LimitsOf(limits));
    submitted_ = answered_ = {};
    dropped_bytes_ = 0;
    draining_ = false;
  }

  // ---- submitting ----

  std::optional<Fault> MakeFault() {
#ifdef SCALPEL_FAULTS
    if (Chance(random_, 0.15)) {
      return Fault{.point = static_cast<FaultPoint>(Below(random_, 6)),
                   .nth = 1 + static_cast<int>(Below(random_, 3)),
                   .kind = static_cast<int>(Below(random_, test::kThrowKinds)),
                   .once = Chance(random_, 0.5)};
    }
#endif
    return std::nullopt;
  }

  // While a call is held a deadline has passed or never does, so that the queue is known.
  absl::Time MakeDeadline() {
    if (Chance(random_, 0.85)) return absl::InfiniteFuture();
    if (held()) return absl::Now() - absl::Milliseconds(1);
    return absl::Now() + absl::Microseconds(static_cast<int64_t>(Below(random_, 3000)));
  }

  Wrong Submit() {
    const size_t which = Below(random_, stock_.size());
    const std::optional<Fault> fault = MakeFault();
    auto call =
        std::make_shared<ModelCall>(stock_[which], absl::StrCat(++number_), MakeDeadline(), fault);
    if (fault) faults_.Add(call->stream()->request_id(), *fault);
    const size_t waiting = Waiting();
    const int64_t bytes = call->what().bytes, reserved = BytesHeld();
    const absl::Status status = scheduler_->Submit(call->TakeJob());
    Note(absl::StrCat("submit ", number_, ": ", which, fault ? " with a fault" : "", ": ",
                      status.ok() ? "admitted" : status.ToString()));
    if (status.ok()) {
      calls_.push_back(call);
      if (held()) queue_.push_back(call);
      submitted_.Add(call->what());
    }
    return CheckAdmission(status, waiting, reserved, bytes);
  }

  // The most calls that can be in the queue: all that are not known to have ended, or exactly.
  size_t Waiting() {
    if (held()) {
      if (queue_.size() >= kQueueMax)
        std::erase_if(queue_, [](const auto& call) { return call->Unwanted(); });
      return queue_.size();
    }
    return std::count_if(calls_.begin(), calls_.end(),
                         [](const auto& call) { return !call->stream()->End(); });
  }

  Wrong CheckAdmission(const absl::Status& status, size_t waiting, int64_t reserved,
                       int64_t bytes) const {
    if (draining_ || absl::IsUnavailable(status)) {
      if (draining_ && absl::IsUnavailable(status)) return std::nullopt;
      return absl::StrCat("while it ", draining_ ? "drains: " : "serves: ", status.ToString());
    }
    const bool room = reserved + bytes <= buffered_max_;
    if (status.ok()) {
      if (!room) return "admitted beyond the bytes";
      if (held() && waiting >= kQueueMax) return "admitted beyond the queue";
    } else if (ReasonOf(status) == Reason::kQueueFull) {
      if (waiting < kQueueMax) return "refused though the queue has room";
    } else if (ReasonOf(status) == Reason::kBufferedBytes) {
      if (reserved + dropped_bytes_ + bytes <= buffered_max_)
        return "refused though bytes are left";
    } else {
      return absl::StrCat("refused with ", status.ToString());
    }
    return std::nullopt;
  }

  // ---- callers ----

  Wrong Read(ModelCall& call, int events) {
    const bool ended = call.ended();
    const Wrong wrong = call.Read(events, faults_);
    if (wrong) return absl::StrCat("call ", call.stream()->request_id(), ": ", *wrong);
    if (!ended && call.answered()) answered_.Add(call.what());
    return std::nullopt;
  }
  Wrong ReadAll(int events) {
    Note(absl::StrCat("read ", events, " of each"));
    for (const auto& call : calls_) {
      if (const Wrong wrong = Read(*call, events)) return wrong;
    }
    return std::nullopt;
  }
  Wrong ReadOne() {
    if (calls_.empty()) return std::nullopt;
    ModelCall& call = *calls_[Below(random_, calls_.size())];
    const int events = 1 + static_cast<int>(Below(random_, 8));
    Note(absl::StrCat("read ", events, " of ", call.stream()->request_id()));
    return Read(call, events);
  }
  Wrong CancelOne() {
    if (calls_.empty()) return std::nullopt;
    ModelCall& call = *calls_[Below(random_, calls_.size())];
    Note(absl::StrCat("cancel ", call.stream()->request_id()));
    call.Cancel();
    return std::nullopt;
  }
  Wrong DropEnded() {
    Note("drop those that have ended");
    for (const auto& call : calls_) dropped_bytes_ += call->ended() ? call->what().bytes : 0;
    std::erase_if(calls_, [](const auto& call) { return call->ended(); });
    return std::nullopt;
  }
  Wrong Pause() {
    absl::SleepFor(absl::Microseconds(static_cast<int64_t>(Below(random_, 400))));
    return std::nullopt;
  }

  // ---- the scheduler ----

  Wrong CheckCounts() {
    Note("counts");
    const EngineCounts counts = scheduler_->counts();
    const BaselineCache::Counts cache = scheduler_->cache_counts();
    if (held() && counts.queued != static_cast<int64_t>(queue_.size()))
      return absl::StrCat(counts.queued, " are queued, not ", queue_.size());
    if (counts.queued > kQueueMax) return "more are queued than may be";
    if (counts.buffered_bytes < BytesHeld() || counts.buffered_bytes > buffered_max_)
      return "the reserved bytes are wrong";
    if (cache.bytes < 0 || cache.bytes > kCacheBytes) return "the cache exceeds its bytes";
    return std::nullopt;
  }

  // Holds a call in the engine.
  Wrong Hold() {
    if (held() || draining_) return std::nullopt;
    if (const Wrong wrong = Settle()) return wrong;
    Note("hold");
    gated_ = test::MakeRun();
    gate_ = std::make_unique<test::Gate>(*gated_.stream);
    const absl::Status status = scheduler_->Submit(std::exchange(gated_.job, nullptr));
    if (!status.ok()) return status.ToString();
    gate_->WaitUntilHeld();
    // Seven positions in two rows, which are computed though its caller does not read.
    submitted_.rows += 2;
    submitted_.tokens += 7;
    return std::nullopt;
  }

  // Lets everything come to its end: all is answered, and nothing is kept.
  Wrong Settle() {
    gate_.reset();
    queue_.clear();
    Note("settle");
    if (!scheduler_->WaitIdle(kPatience)) return "it does not come to rest";
    if (const Wrong wrong = ReadAll(1'000'000)) return wrong;
    gated_ = {};
    const EngineCounts counts = scheduler_->counts();
    if (counts.queued != 0 || counts.running != 0) return "it is idle, and counts calls";
    if (counts.buffered_bytes != BytesHeld()) return "bytes are kept for no call";
    if (counts.done.rows < answered_.rows || counts.done.rows > submitted_.rows ||
        counts.done.tokens < answered_.tokens || counts.done.tokens > submitted_.tokens ||
        counts.done.tokens_computed > counts.done.tokens)
      return "the sums of rows or tokens are wrong";
    for (const auto& call : calls_) {
      if (!call->ended())
        return absl::StrCat("call ", call->stream()->request_id(), " has not ended");
      if (call->JobIsAlive())
        return absl::StrCat("the job of ", call->stream()->request_id(), " is kept");
    }
    calls_.clear();
    dropped_bytes_ = 0;
    if (scheduler_->counts().buffered_bytes != 0) return "bytes are kept for streams that are gone";
    return std::nullopt;
  }

  Wrong EndAll() {
    Note("end all");
    for (const auto& call : calls_) call->Abort();
    scheduler_->CancelAll();
    queue_.clear();
    return std::nullopt;
  }

  // Shuts down, with or without patience, and starts anew.
  Wrong Drain() {
    Note("drain");
    scheduler_->StopAdmission();
    draining_ = true;
    for (int i = 0; i < 3; ++i) {
      if (const Wrong wrong = Submit()) return wrong;
    }
    if (Chance(random_, 0.5)) {
      if (const Wrong wrong = Settle()) return wrong;
    }
    for (const auto& call : calls_) call->Abort();
    gate_.reset();
    queue_.clear();
    scheduler_.reset();
    Note("start anew");
    const Wrong wrong = ReadAll(1'000'000);
    for (const auto& call : calls_) {
      if (!wrong && !call->ended()) return "a call outlives the scheduler";
    }
    calls_.clear();
    gated_ = {};
    Open();
    return wrong;
  }

  const spdlog::level::level_enum log_level_ = spdlog::get_level();
  const std::vector<Stocked> stock_ = MakeStock();
  int64_t buffered_max_ = 0;
  FaultBook faults_;
  std::deque<std::string> last_;
  int64_t number_ = 0;

  std::vector<std::shared_ptr<ModelCall>> calls_;  // admitted, and not dropped
  Sums submitted_, answered_;                      // to this scheduler
  int64_t dropped_bytes_ = 0;  // since it was idle: the engine may still hold these calls
  bool draining_ = false;
  std::vector<std::shared_ptr<ModelCall>> queue_;  // behind the one that is held
  test::Call gated_;                               // the one that is held
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<test::Gate> gate_;  // opens before the scheduler waits for its thread
};

TEST_F(SchedulerModel, AnswersEachCallOnceAsAlone) {
  const int64_t steps = test::StepsOr(kSteps);
  for (int64_t i = 0; i < steps; ++i) {
    const Wrong wrong = Step();
    ASSERT_FALSE(wrong) << "SCALPEL_MODEL_SEED=" << test::GivenSeed().value_or(1) << ", step " << i
                        << ": " << *wrong << "\n  " << LastSteps();
  }
}

}  // namespace
}  // namespace scalpel::engine
