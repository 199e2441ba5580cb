#include "tests/unit/support/busy_engine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/generate_job.h"
#include "server/engine/run_job.h"
#include "server/engine/sweep_job.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_generate.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::test {

using engine::Event;
using engine::EventStream;

Call MakeRun(std::shared_ptr<const spec::Plan> plan, const std::string& request_id,
             absl::Time deadline) {
  const auto stream = std::make_shared<EventStream>(request_id, deadline);
  return {.stream = stream, .job = std::make_shared<engine::RunJob>(stream, plan), .plan = plan};
}

Call MakeRun(const std::string& text, const std::string& request_id, absl::Time deadline) {
  return MakeRun(CompileOrThrow(RequestOf(text)), request_id, deadline);
}

Call MakeSweep(const std::string& text, absl::Time deadline) {
  const auto stream = std::make_shared<EventStream>("sweep", deadline);
  return {.stream = stream,
          .job = std::make_shared<engine::SweepJob>(stream, CompileSweepOrThrow(SweepOf(text)))};
}

Call MakeGeneration(const std::string& text) {
  const auto stream = std::make_shared<EventStream>("generation");
  return {.stream = stream,
          .job = std::make_shared<engine::GenerateJob>(
              stream, CompileGenerationOrThrow(GenerationOf(text)), TinyGpt2().config())};
}

absl::Status WaitForEnd(EventStream& stream, std::vector<Event>* events) {
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

Gate::Gate(EventStream& stream) {
  stream.SetReady([state = state_] {
    if (state->calls.fetch_add(1) != 1) return;  // the first call is SetReady's own
    state->entered.Notify();
    state->released.WaitForNotification();
  });
}

void Gate::WaitUntilHeld() {
  ASSERT_TRUE(state_->entered.WaitForNotificationWithTimeout(kPatience));
}

void Gate::Release() {
  if (!state_->released.HasBeenNotified()) state_->released.Notify();
}

void BusyScheduler::Start(const Limits& limits) {
  scheduler_ = std::make_unique<engine::Scheduler>(TinyGpt2(), limits);
  running_ = MakeRun();
  gate_ = std::make_unique<Gate>(*running_.stream);
  ASSERT_TRUE(scheduler_->Submit(running_.job).ok());
  gate_->WaitUntilHeld();
}

}  // namespace scalpel::test
