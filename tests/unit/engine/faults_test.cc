// Faults injected at every point of the engine, in company: who is innocent gets the bytes that it
// gets alone. In builds with SCALPEL_FAULTS.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <new>

#include "absl/strings/str_cat.h"
#include "server/engine/fault_points.h"
#include "tests/unit/support/busy_engine.h"
#include "tests/unit/support/read_events.h"
#include "tests/unit/support/throw.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::engine {
namespace {

using test::Call;
using test::Gate;
using test::kPatience;
using test::MakeGeneration;
using test::MakeRun;
using test::MakeSweep;
using test::WaitForEnd;
using ::testing::HasSubstr;

// Something of every kind of event.
std::string Everything(int i) {
  return absl::StrCat(
      "interventions { place { site: SITE_Z where { layers: ", i % 3, " } } noise { seed: ", i,
      " } } probes { place { site: SITE_RESID_POST } statistics: STATISTIC_STD } "
      "probes { place { site: SITE_PATTERN } statistics: STATISTIC_MEAN } captures { name: \"q\" "
      "place { site: SITE_Q } } block_outputs { layers: 1 } output_hidden_states: true "
      "include_clean_run: true logits { full {} }");
}

constexpr char kSweep[] = R"(
    grid { interventions { place { site: SITE_Z } zero {} } axes { layers {} } axes { heads {} } }
    probes { place { site: SITE_RESID_POST } statistics: STATISTIC_STD } reports: true
    metrics { kl_from_clean {} })";

constexpr char kGeneration[] = R"(
    interventions { place { site: SITE_Z where { layers: 1 } } scale { factor: 2 } }
    captures { place { site: SITE_MLP_OUT } } logits { top_k { k: 2 } } continuations: 2
    sampling { sample: true } reuse_kv: KV_REUSE_INTERVENED
    stop { max_new_tokens: 4 ignore_eos: true })";

// In any order: variants and streams that run again come later.
std::vector<std::string> Sorted(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  return lines;
}

struct Outcome {
  absl::Status status;
  std::vector<std::string> read;
};

// All of them in one wave, as far as there is room, with a fault.
std::vector<Outcome> RunTogether(const std::vector<std::function<Call()>>& makers,
                                 FaultHandler fault) {
  std::vector<Call> calls;
  for (const auto& make : makers) calls.push_back(make());
  const Call first = MakeRun(test::kLayers, "first");
  Faults() = std::move(fault);
  std::vector<Outcome> outcomes;
  {
    Scheduler scheduler(test::TinyGpt2(), Limits());
    {
      Gate gate(*first.stream);
      EXPECT_TRUE(scheduler.Submit(first.job).ok());
      gate.WaitUntilHeld();
      for (const Call& call : calls) EXPECT_TRUE(scheduler.Submit(call.job).ok());
    }
    for (const Call& call : calls) {
      std::vector<Event> events;
      Outcome& outcome = outcomes.emplace_back();
      outcome.status = WaitForEnd(*call.stream, &events);
      outcome.read = test::ReadEvents(events);
    }
    EXPECT_TRUE(scheduler.WaitIdle(kPatience));
  }
  Faults() = nullptr;
  return outcomes;
}

std::function<Call()> ARun(int i, const std::string& id) {
  return [=] { return MakeRun(Everything(i), id); };
}
std::function<Call()> ASweep() {
  return [] { return MakeSweep(kSweep); };
}
std::function<Call()> AGeneration() {
  return [] { return MakeGeneration(kGeneration); };
}

class Faulty : public testing::TestWithParam<FaultPoint> {};
class FaultyInCompany : public Faulty {};

// The fault comes each time that the guilty one passes the point for the `nth` time in a wave.
TEST_P(Faulty, InnocentsGetTheirBytes) {
  const std::vector<std::function<Call()>> makers = {ARun(0, "a"), ARun(1, "guilty"), ARun(2, "b"),
                                                     ASweep(), AGeneration()};
  std::vector<Outcome> alone;
  for (const auto& make : makers) alone.push_back(RunTogether({make}, nullptr)[0]);
  for (int kind = 0; kind < test::kThrowKinds; ++kind) {
    for (const int nth : {1, 2, 5}) {
      int passed = 0;
      bool thrown = false;
      const std::vector<Outcome> outcomes =
          RunTogether(makers, [&](FaultPoint point, std::string_view request_id) {
            if (request_id != "guilty") return;
            if (point == FaultPoint::kPass) passed = 0;  // a wave begins
            if (point != GetParam() || ++passed < nth) return;
            thrown = true;
            test::Throw(kind);
          });
      for (size_t i = 0; i < makers.size(); ++i) {
        if (i == 1 && thrown) continue;
        EXPECT_TRUE(outcomes[i].status.ok()) << i << outcomes[i].status;
        EXPECT_EQ(Sorted(outcomes[i].read), Sorted(alone[i].read)) << i;
        if (i < 3) {
          EXPECT_EQ(outcomes[i].read, alone[i].read) << i;
        }
      }
      EXPECT_TRUE(thrown || nth > 1);
      if (!thrown) continue;
      EXPECT_EQ(outcomes[1].status.code(), test::CodeOfThrown(kind));
      if (kind >= 2) {
        EXPECT_THAT(std::string(outcomes[1].status.message()), HasSubstr("guilty"));
      }
      // What it was sent before the fault came once, too.
      ASSERT_LE(outcomes[1].read.size(), alone[1].read.size());
      for (size_t i = 0; i < outcomes[1].read.size(); ++i)
        EXPECT_EQ(outcomes[1].read[i], alone[1].read[i]);
      if (HasFailure()) return;
    }
  }
}

// What one cannot have in company, and can have alone: no call fails.
TEST_P(FaultyInCompany, WhatPassesAloneFailsNoCall) {
  const std::vector<std::function<Call()>> makers = {ARun(0, "a"), ARun(1, "guilty"), ASweep(),
                                                     AGeneration()};
  std::vector<Outcome> alone;
  for (const auto& make : makers) alone.push_back(RunTogether({make}, nullptr)[0]);
  for (const std::string victim : {"guilty", "sweep", "generation"}) {
    for (const int nth : {1, 4}) {
      int passed = 0, thrown = 0;
      const std::vector<Outcome> outcomes =
          RunTogether(makers, [&](FaultPoint point, std::string_view request_id) {
            if (request_id != victim || point != GetParam() || ++passed != nth) return;
            ++thrown;
            throw std::bad_alloc();
          });
      EXPECT_TRUE(thrown == 1 || nth > 1);
      for (size_t i = 0; i < makers.size(); ++i) {
        EXPECT_TRUE(outcomes[i].status.ok()) << victim << i << outcomes[i].status;
        EXPECT_EQ(Sorted(outcomes[i].read), Sorted(alone[i].read)) << victim << i;
      }
    }
  }
}

std::string NameOf(const testing::TestParamInfo<FaultPoint>& point) {
  constexpr const char* kNames[] = {"NextTask", "Pass", "Layer", "Visit", "Done", "Finish"};
  return kNames[static_cast<int>(point.param)];
}

INSTANTIATE_TEST_SUITE_P(Points, Faulty,
                         testing::Values(FaultPoint::kNextTask, FaultPoint::kPass,
                                         FaultPoint::kLayer, FaultPoint::kVisit, FaultPoint::kDone,
                                         FaultPoint::kFinish),
                         NameOf);
// Where a task runs beside others: a job's next task and its end are its own.
INSTANTIATE_TEST_SUITE_P(Points, FaultyInCompany,
                         testing::Values(FaultPoint::kPass, FaultPoint::kLayer, FaultPoint::kVisit,
                                         FaultPoint::kDone),
                         NameOf);

// A sweep all of whose variants fail ends with the first that fails alone.
TEST(Faults, ASweepEndsWithItsFirstVariantThatFailsAlone) {
  int passes = 0;
  const std::vector<Outcome> outcomes =
      RunTogether({ASweep(), ARun(1, "a")}, [&](FaultPoint point, std::string_view request_id) {
        if (request_id != "sweep") return;
        if (point == FaultPoint::kDone) throw std::bad_alloc();
        if (point == FaultPoint::kPass) ++passes;
      });
  EXPECT_EQ(outcomes[0].status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(outcomes[1].status.ok());
  EXPECT_LE(passes, 1 + 9 + 1);  // the clean runs, nine variants together, and one of them alone
}

}  // namespace
}  // namespace scalpel::engine
