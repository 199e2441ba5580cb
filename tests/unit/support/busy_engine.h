// Calls to an engine of the small model, and an engine that can be held where it is.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_BUSY_ENGINE_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_BUSY_ENGINE_H_

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "server/engine/scheduler.h"
#include "server/spec/plan.h"

namespace scalpel::test {

inline constexpr absl::Duration kPatience = absl::Seconds(30);

// A statistic at every layer, so that every layer shows.
inline constexpr char kLayers[] =
    "probes { place { site: SITE_RESID_POST } statistics: STATISTIC_MEAN } ";

// A call, as its caller has it.
struct Call {
  std::shared_ptr<engine::EventStream> stream;
  std::shared_ptr<engine::Job> job;
  std::shared_ptr<const spec::Plan> plan = nullptr;  // of a run
};

// A run of RequestOf(text).
Call MakeRun(const std::string& text = kLayers, const std::string& request_id = "id",
             absl::Time deadline = absl::InfiniteFuture());
Call MakeRun(std::shared_ptr<const spec::Plan> plan, const std::string& request_id,
             absl::Time deadline = absl::InfiniteFuture());
// A sweep of SweepOf(text).
Call MakeSweep(const std::string& text, absl::Time deadline = absl::InfiniteFuture());

// A generation of GenerationOf(text).
Call MakeGeneration(const std::string& text);

// Reads the stream to its end, which it returns.
absl::Status WaitForEnd(engine::EventStream& stream, std::vector<engine::Event>* events = nullptr);

// What the events of one run are, in a word each.
std::vector<std::string> Words(const std::vector<engine::Event>& events);

// Holds the engine's thread where it pushes the stream's first event, until released or destroyed.
class Gate {
 public:
  explicit Gate(engine::EventStream& stream);
  ~Gate() { Release(); }
  void WaitUntilHeld();
  void Release();

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
  void Start(const Limits& limits = {});
  ~BusyScheduler() override { gate_.reset(); }  // before the scheduler waits for its thread

  Call running_;
  std::unique_ptr<engine::Scheduler> scheduler_;
  std::unique_ptr<Gate> gate_;
};

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_BUSY_ENGINE_H_
