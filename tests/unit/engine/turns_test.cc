#include "server/engine/turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Gives out tasks of these weights.
class Weights final : public Job {
 public:
  Weights(std::string name, std::deque<int64_t> weights)
      : Job(std::make_shared<EventStream>(std::move(name))), weights_(std::move(weights)) {}

  int64_t response_bytes() const override { return 0; }
  std::optional<Task> NextTask() override {
    if (weights_.empty()) return std::nullopt;
    Task task{.job = shared_from_this(), .plan = nullptr, .sink = nullptr, .done = nullptr};
    task.tokens = weights_.front();
    weights_.pop_front();
    if (task.tokens < 0) throw std::runtime_error("cannot be made");
    return task;
  }
  bool AllDone() const override { return false; }
  void Finish(Locator) override {}

 private:
  std::deque<int64_t> weights_;
};

class FillWaveTest : public testing::Test {
 protected:
  void Add(const std::string& name, std::deque<int64_t> weights) {
    turns_.push_back({std::make_shared<Weights>(name, std::move(weights))});
  }

  // The tasks of the next wave of at most 10, such as "a3".
  std::vector<std::string> Next(bool light_only = false) {
    filled_ = FillWave(turns_, 10, light_only, [this](Task&) { ++prepared_; });
    std::vector<std::string> names;
    for (const Task& task : filled_.wave)
      names.push_back(absl::StrCat(task.job->stream().request_id(), task.tokens));
    return names;
  }

  Turns turns_;
  FilledWave filled_;
  int prepared_ = 0;
};

TEST_F(FillWaveTest, TakesOneOfEachInTurn) {
  Add("a", {1, 2, 3});
  Add("b", {4});
  EXPECT_THAT(Next(), ElementsAre("a1", "b4", "a2", "a3"));
  EXPECT_THAT(Next(), IsEmpty());
}

TEST_F(FillWaveTest, BeginsWithWhatHadNoRoom) {
  Add("a", {6, 6});
  Add("b", {3, 3});
  EXPECT_THAT(Next(), ElementsAre("a6", "b3"));
  EXPECT_EQ(turns_.front().held->tokens, 6);
  EXPECT_THAT(Next(), ElementsAre("a6", "b3"));
  EXPECT_EQ(prepared_, 4) << "each once";
}

TEST_F(FillWaveTest, AHeavyTaskIsAlone) {
  Add("a", {1});
  Add("heavy", {11});
  Add("b", {1});
  EXPECT_THAT(Next(), ElementsAre("a1"));
  EXPECT_THAT(Next(), ElementsAre("heavy11"));
  EXPECT_THAT(Next(), ElementsAre("b1"));
}

TEST_F(FillWaveTest, LightOnesPassHeavyOnes) {
  Add("heavy", {11, 12});
  Add("a", {6, 6});
  Add("heavier", {20});
  Add("b", {4});
  EXPECT_THAT(Next(/*light_only=*/true), ElementsAre("a6", "b4"));
  EXPECT_THAT(Next(/*light_only=*/true), ElementsAre("a6"));
  EXPECT_THAT(Next(/*light_only=*/true), IsEmpty());
  EXPECT_EQ(prepared_, 5) << "each once";
  EXPECT_THAT(Next(), ElementsAre("heavy11"));
  EXPECT_THAT(Next(), ElementsAre("heavier20"));
  EXPECT_THAT(Next(), ElementsAre("heavy12"));
  EXPECT_THAT(Next(), IsEmpty());
}

TEST_F(FillWaveTest, AJobThatFailsTakesItsTasksAlong) {
  Add("bad", {1, -1, 1});
  Add("a", {2, 3});
  EXPECT_THAT(Next(), ElementsAre("a2", "a3"));
  ASSERT_EQ(filled_.failed.size(), 1u);
  EXPECT_EQ(filled_.failed[0].first->stream().request_id(), "bad");
  EXPECT_NE(filled_.failed[0].second, nullptr);
  EXPECT_EQ(turns_.size(), 1u);
}

TEST_F(FillWaveTest, ACallerThatLeftGivesNothing) {
  Add("heavy", {11});
  Add("a", {2});
  EXPECT_THAT(Next(/*light_only=*/true), ElementsAre("a2"));
  for (Turn& turn : turns_) turn.job->stream().Cancel();
  EXPECT_THAT(Next(), IsEmpty());
}

}  // namespace
}  // namespace scalpel::engine
