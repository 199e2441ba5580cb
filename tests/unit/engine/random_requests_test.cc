// The laws of the contract that hold for every request, at random ones.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/unit/support/random_spec.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::engine {
namespace {

using test::Answer;
using test::Ask;

constexpr int kRequests = 200;

// The request and more prompts behind it. It is normalised: what it selects stays what it was, but
// for the positions of the logits, which the others must have too.
std::shared_ptr<const spec::Plan> AmongOthers(const spec::Plan& plan, std::mt19937_64& random) {
  while (true) {
    v1::RunRequest request = plan.started.normalized();
    for (uint64_t more = 1 + random() % 3; more > 0; --more) {
      auto* ids = request.add_prompts()->mutable_token_ids();
      const size_t like = plan.tokens[random() % plan.tokens.size()].size();
      for (uint64_t length = like + random() % 3; length > 0; --length) {
        ids->add_ids(static_cast<int32_t>(random() % test::TinyConfig().vocab_size));
      }
    }
    if (auto compiled = spec::Compile(request, test::TinyFacts(), Limits()); compiled.ok())
      return *compiled;
  }
}

// The request, and everything there is to see in it.
v1::RunRequest Observed(const spec::Plan& plan) {
  v1::RunRequest request = plan.started.normalized();
  for (const spec::SiteEntry& site : spec::AllSites()) {
    for (const v1::Moment moment : {v1::MOMENT_BEFORE, v1::MOMENT_AFTER}) {
      v1::Capture* capture = request.add_captures();
      capture->set_name(absl::StrCat("everything ", site.name, " ", moment));
      capture->mutable_place()->set_site(site.site);
      capture->set_moment(moment);
      v1::Probe* probe = request.add_probes();
      probe->set_name(capture->name());
      *probe->mutable_place() = capture->place();
      probe->set_moment(moment);
      probe->add_statistics(v1::STATISTIC_COSINE);
    }
  }
  return request;
}

void ExpectSameFacts(const Answer& expected, const Answer& actual, const v1::RunRequest& request) {
  const auto facts = actual.Facts();
  for (const auto& [key, bytes] : expected.Facts()) {
    const auto found = facts.find(key);
    ASSERT_NE(found, facts.end()) << key << "\n" << request.ShortDebugString();
    ASSERT_TRUE(found->second == bytes) << key << " differs\n" << request.ShortDebugString();
  }
}

TEST(RandomRequests, AnswersDoNotDependOnCompanyOrObservation) {
  std::mt19937_64 random(20);
  int refused = 0, facts = 0;
  for (int done = 0; done < kRequests;) {
    const v1::RunRequest request = test::RandomRequest(random, test::TinyConfig());
    const auto plan = spec::Compile(request, test::TinyFacts(), Limits());
    if (!plan.ok()) {  // the generator does not foresee every empty selection
      ASSERT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << plan.status();
      ASSERT_LT(++refused, kRequests) << plan.status();
      continue;
    }
    ++done;
    const Answer alone = Ask(*plan);
    const int64_t room = (*plan)->started.cost().response_bytes() -
                         static_cast<int64_t>((*plan)->started.ByteSizeLong());
    ASSERT_LE(alone.WireBytes(), room) << request.ShortDebugString();
    facts += static_cast<int>(alone.Facts().size());
    ExpectSameFacts(alone, Ask(AmongOthers(**plan, random)), (*plan)->started.normalized());
    ExpectSameFacts(alone, Ask(Observed(**plan)), (*plan)->started.normalized());
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(facts, 10 * kRequests);  // the requests ask for something
}

// Where nothing but the message's frame surrounds the numbers, the bound must still hold.
TEST(RandomRequests, StayWithinTheirBoundOfBytesWithTinyAnswers) {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    absl::StrAppend(
        &text, "captures { name: \"", std::string(120, 'n'), i,
        "\" place { site: SITE_LN_F_SCALE } } ", "probes { name: \"", std::string(120, 'n'), i,
        "\" place { site: SITE_LN_F_SCALE } quantiles: 0.25 ",
        "statistics: STATISTIC_MEAN keep: AXIS_POSITION histogram { bins: 3 max: 1 } } ");
  }
  const auto plan = test::CompileOrThrow(test::RequestOf(text + "include_clean_run: true"));
  const int64_t room =
      plan->started.cost().response_bytes() - static_cast<int64_t>(plan->started.ByteSizeLong());
  EXPECT_LE(Ask(plan).WireBytes(), room);
}

}  // namespace
}  // namespace scalpel::engine
