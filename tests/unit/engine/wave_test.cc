// However a plan runs, its answer is the same, bit for bit: alone and from nothing is the oracle.

#include "server/engine/wave.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "server/kernels/targets.h"
#include "server/kernels/threads.h"
#include "tests/unit/support/random_spec.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::Answer;
using test::Ask;
using PlanPtr = std::shared_ptr<const spec::Plan>;

constexpr int64_t kPlenty = int64_t{1} << 30;

BaselineCache MakeCache(int64_t bytes = kPlenty) {
  return BaselineCache(bytes, static_cast<int32_t>(test::TinyConfig().n_layer));
}

// Valid random requests over few prompts, so that they meet again.
class RandomPlans {
 public:
  explicit RandomPlans(uint64_t seed) : random_(seed) {}

  std::mt19937_64& random() { return random_; }

  PlanPtr Next() {
    while (true) {
      v1::RunRequest request = test::RandomRequest(random_, test::TinyConfig());
      for (v1::Prompt& prompt : *request.mutable_prompts()) {
        if (!stock_.empty() && random_() % 3 != 0) {
          prompt = stock_[random_() % stock_.size()];
        } else if (random_() % 2 == 0) {
          stock_.push_back(prompt);
        }
        if (random_() % 4 == 0) {  // what begins alike
          prompt.mutable_token_ids()->add_ids(
              static_cast<int32_t>(random_() % test::TinyConfig().vocab_size));
        }
      }
      auto plan = spec::Compile(request, test::TinyFacts(), Limits());
      if (plan.ok()) return *std::move(plan);
    }
  }

 private:
  std::mt19937_64 random_;
  std::vector<v1::Prompt> stock_;
};

void ExpectSameFacts(const Answer& expected, const Answer& actual, const spec::Plan& plan,
                     const std::string& how) {
  const auto want = expected.Facts(), got = actual.Facts();
  ASSERT_EQ(want.size(), got.size()) << how << "\n" << plan.started.normalized().ShortDebugString();
  for (const auto& [key, bytes] : want) {
    const auto found = got.find(key);
    ASSERT_NE(found, got.end()) << how << ": " << key << "\n"
                                << plan.started.normalized().ShortDebugString();
    ASSERT_TRUE(found->second == bytes) << how << ": " << key << " differs\n"
                                        << plan.started.normalized().ShortDebugString();
  }
}

int64_t TokensComputed(const Answer& answer) {
  return answer.events.back().message.finished().tokens_computed();
}

// ---- every request, however it runs -------------------------------------------------------------

TEST(RandomWaves, AnswersDoNotDependOnHowTheyRun) {
  RandomPlans plans(31);
  BaselineCache warm = MakeCache();
  constexpr int kWaves = 60;
  int facts = 0;
  int64_t alone_tokens = 0, warm_tokens = 0;
  for (int wave = 0; wave < kWaves; ++wave) {
    std::vector<PlanPtr> members;
    for (uint64_t n = 1 + plans.random()() % 5; n > 0; --n) members.push_back(plans.Next());
    std::vector<Answer> alone;
    for (const PlanPtr& plan : members) {
      alone.push_back(Ask(plan));
      facts += static_cast<int>(alone.back().Facts().size());
      alone_tokens += TokensComputed(alone.back());
    }
    BaselineCache cold = MakeCache(), none = MakeCache(0);
    const auto check = [&](BaselineCache& cache, const std::string& how) {
      const std::vector<Answer> answers = Ask(members, cache);
      for (size_t i = 0; i < members.size(); ++i) {
        ExpectSameFacts(alone[i], answers[i], *members[i], how);
        if (how == "resumed") warm_tokens += TokensComputed(answers[i]);
      }
    };
    check(none, "together");
    check(cold, "together, recorded");
    check(cold, "resumed");
    check(warm, "warm");
    kernels::SetThreads(2);
    check(warm, "warm, two threads");
    kernels::SetThreads(1);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(facts, 10 * kWaves);
  EXPECT_LT(warm_tokens, alone_tokens);
  EXPECT_GT(warm.counts().hits, 0);
  EXPECT_GT(warm.counts().prefix_hits, 0);
}

// The same request gives the same bytes on every CPU: by each of this one's vectors, and by none.
TEST(RandomPlans, AnswersAreEqualOnEveryTarget) {
  RandomPlans plans(33);
  for (int i = 0; i < 60; ++i) {
    const PlanPtr plan = plans.Next();
    const Answer best = Ask(plan);
    for (const std::string_view target : kernels::Targets()) {
      kernels::ForceTarget(target);
      ExpectSameFacts(best, Ask(plan), *plan, std::string(target));
      kernels::ForceTarget("");
    }
    if (HasFatalFailure()) return;
  }
  EXPECT_GE(kernels::Targets().size(), 2u);
}

// Small caches forget in the middle of everything.
TEST(RandomWaves, AnswersDoNotDependOnEviction) {
  RandomPlans plans(32);
  BaselineCache small = MakeCache(40'000);
  for (int i = 0; i < 80; ++i) {
    const PlanPtr plan = plans.Next();
    ExpectSameFacts(Ask(plan), Ask(std::vector{plan}, small)[0], *plan, "small cache");
    if (HasFatalFailure()) return;
    ASSERT_LE(small.counts().bytes, 40'000);
  }
}

}  // namespace
}  // namespace scalpel::engine
