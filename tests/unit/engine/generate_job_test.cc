#include "server/engine/generate_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_generate.h"

namespace scalpel::engine {
namespace {

using test::Generate;
using test::Generated;
using test::GenerationOf;
using ::testing::ElementsAre;
using ::testing::IsSubsetOf;
using ::testing::Not;
using ::testing::SizeIs;

// A strong push along the residual stream, at what `steps` selects.
std::string Push(const std::string& steps) {
  return absl::StrCat(
      "interventions { place { site: SITE_RESID_POST where { layers: 1 ", steps,
      " } } add { tensor { shape: 12 values: [9, -8, 7, -6, 5, -4, 3, -2, 1, 0, -1, 2] } } } ");
}

TEST(GenerateJob, GreedyTokensAreTheMostLikelyOfEachRun) {
  const Generated generated = Generate(GenerationOf("stop { max_new_tokens: 6 ignore_eos: true }"));
  for (const int32_t prompt : {0, 1}) {
    std::vector<int32_t> tokens = prompt == 0 ? std::vector{1, 2, 3, 4} : std::vector{5, 6, 7};
    for (const v1::GeneratedToken& token : generated.Tokens(prompt)) {
      v1::RunRequest run;
      run.add_prompts()->mutable_token_ids()->mutable_ids()->Assign(tokens.begin(), tokens.end());
      run.mutable_logits()->mutable_top_k()->set_k(1);
      const v1::TokenLogit best = test::Ask(run).Logits(0).positions(0).tokens(0);
      EXPECT_EQ(token.id(), best.token_id());
      EXPECT_NEAR(token.log_prob(), best.log_prob(), 1e-5);
      tokens.push_back(token.id());
    }
  }
  EXPECT_EQ(generated.Finished(0).reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(generated.Finished(0).ids(), SizeIs(6));
  EXPECT_EQ(generated.End().new_tokens(), 12);
}

TEST(GenerateJob, KeptKeysAreNotComputedAgain) {
  const Generated kept = Generate(GenerationOf("stop { max_new_tokens: 5 ignore_eos: true }"));
  EXPECT_EQ(kept.End().tokens_computed(), (4 + 4) + (3 + 4));
  const Generated anew = Generate(
      GenerationOf("reuse_kv: KV_REUSE_RECOMPUTE_ALL stop { max_new_tokens: 5 ignore_eos: true }"));
  EXPECT_EQ(anew.End().tokens_computed(), (4 + 5 + 6 + 7 + 8) + (3 + 4 + 5 + 6 + 7));
  EXPECT_EQ(kept.Ids(0), anew.Ids(0));
}

TEST(GenerateJob, EachWayOfReuseIsAnother) {
  const auto logits = [](const std::string& reuse, const std::string& steps) {
    return Generate(GenerationOf(absl::StrCat(Push(steps), "reuse_kv: KV_REUSE_", reuse,
                                              " logits { full {} } "
                                              "stop { max_new_tokens: 4 ignore_eos: true }")))
        .Tensor(0, 3, "logits");
  };
  const std::string newest = "positions { indices { values: -1 } } steps { start: 1 }";
  const at::Tensor intervened = logits("INTERVENED", newest);
  EXPECT_FALSE(test::SameBits(intervened, logits("RECOMPUTE_ALL", newest)));
  // The prompt is clean in both.
  EXPECT_TRUE(test::SameBits(intervened, logits("CLEAN_PROMPT", newest)));
  // An edit of a position changes none before it.
  EXPECT_TRUE(test::SameBits(logits("INTERVENED", ""), logits("RECOMPUTE_ALL", "")));
  EXPECT_FALSE(
      test::SameBits(logits("INTERVENED", ""), logits("CLEAN_PROMPT", "steps { start: 1 }")));
}

TEST(GenerateJob, TwinRunsWithoutInterventions) {
  const Generated edited =
      Generate(GenerationOf(absl::StrCat(Push(""),
                                         "unsteered: true reuse_kv: KV_REUSE_INTERVENED "
                                         "stop { max_new_tokens: 6 ignore_eos: true }")));
  const Generated plain = Generate(GenerationOf("stop { max_new_tokens: 6 ignore_eos: true }"));
  EXPECT_EQ(edited.Ids(1), plain.Ids(0));
  EXPECT_EQ(edited.Ids(3), plain.Ids(1));
  EXPECT_NE(edited.Ids(0), plain.Ids(0));
  EXPECT_GT(edited.Report(0).elements_changed(), 0);
  EXPECT_EQ(edited.Report(0).sites_touched(), 2 * 6);
}

TEST(GenerateJob, ContinuationsDifferAndAreReproducible) {
  const std::string text =
      "continuations: 3 sampling { sample: true temperature: 3 } seed: 5 "
      "stop { max_new_tokens: 8 ignore_eos: true }";
  const Generated one = Generate(GenerationOf(text)), two = Generate(GenerationOf(text));
  for (const int32_t stream : {0, 1, 2, 3, 4, 5}) EXPECT_EQ(one.Facts(stream), two.Facts(stream));
  EXPECT_NE(one.Ids(0), one.Ids(1));
  EXPECT_NE(one.Ids(1), one.Ids(2));
  std::string other = text;
  other.replace(other.find("seed: 5"), 7, "seed: 6");
  EXPECT_NE(one.Ids(0), Generate(GenerationOf(other)).Ids(0));
  // The prompt's keys are computed once for all of them.
  EXPECT_EQ(one.End().tokens_computed(), (4 + 3 * 7) + (3 + 3 * 7));
}

TEST(GenerateJob, StopsAtATokenButNotTooEarly) {
  const std::string sampled = "sampling { sample: true temperature: 3 } seed: 5 ";
  const Generated free =
      Generate(GenerationOf(sampled + "stop { max_new_tokens: 8 ignore_eos: true }"));
  const int32_t third = free.Ids(0)[2];
  ASSERT_NE(free.Ids(0)[0], third);
  ASSERT_NE(free.Ids(0)[1], third);
  const auto stopped = [&](const std::string& more) {
    return Generate(GenerationOf(absl::StrCat(
        sampled, "stop { max_new_tokens: 8 ignore_eos: true ids: ", third, " ", more, " }")));
  };
  EXPECT_THAT(stopped("").Ids(0), ElementsAre(free.Ids(0)[0], free.Ids(0)[1], third));
  EXPECT_EQ(stopped("").Finished(0).reason(), v1::FINISH_REASON_STOP_ID);
  EXPECT_NE(stopped("min_new_tokens: 3").Ids(0)[2], third);
}

TEST(GenerateJob, NothingFollowsLogitsThatAreNotFinite) {
  const Generated generated = Generate(GenerationOf(
      "interventions { place { site: SITE_RESID_POST where { prompts: 0 steps { start: 2 } } } "
      "scale { factor: 3e38 } } reuse_kv: KV_REUSE_INTERVENED "
      "stop { max_new_tokens: 5 ignore_eos: true }"));
  EXPECT_EQ(generated.Finished(0).reason(), v1::FINISH_REASON_NON_FINITE);
  EXPECT_THAT(generated.Ids(0), SizeIs(2));
  EXPECT_EQ(generated.Finished(1).reason(), v1::FINISH_REASON_LENGTH);
}

// Pairs name queries and keys that come up while the sequence grows.
TEST(GenerateJob, KnockoutPairsActWhereTheirQueryIsComputed) {
  const std::string stop = "stop { max_new_tokens: 5 ignore_eos: true } logits { full {} } ";
  const Generated cut =
      Generate(GenerationOf("interventions { place { site: SITE_ATTN_SCORES where { prompts: 0 } } "
                            "knockout { pairs { query: 5 key: 1 } pairs { query: 2 key: 0 } } } "
                            "reuse_kv: KV_REUSE_INTERVENED " +
                            stop));
  std::vector<int32_t> tokens = {1, 2, 3, 4};
  const auto ids = cut.Ids(0);
  for (int32_t step = 0; step < 5; ++step) {
    v1::RunRequest run = test::FromText<v1::RunRequest>(absl::StrCat(
        "interventions { place { site: SITE_ATTN_SCORES } knockout { pairs { query: 2 key: 0 } ",
        step >= 2 ? "pairs { query: 5 key: 1 } " : "", "} } logits { full {} }"));
    run.add_prompts()->mutable_token_ids()->mutable_ids()->Assign(tokens.begin(), tokens.end());
    EXPECT_TRUE(test::SameBits(test::Ask(run).Tensor("logits"), cut.Tensor(0, step, "logits")))
        << step;
    tokens.push_back(ids[step]);
  }
}

TEST(GenerateJob, ProbesAreCountedAsInTheRequestInEveryStep) {
  const Generated generated = Generate(GenerationOf(
      "probes { place { site: SITE_RESID_POST where { layers: 0 steps { start: 1 } } } "
      "         statistics: STATISTIC_STD } "
      "probes { place { site: SITE_RESID_PRE where { layers: 0 steps { end: 1 } } } "
      "         statistics: STATISTIC_STD } "
      "stop { max_new_tokens: 2 ignore_eos: true }"));
  std::vector<std::pair<int32_t, int32_t>> found;  // steps and probes of the first stream
  for (const Event& event : generated.events) {
    if (!event.generate || event.generate->step().stream() != 0) continue;
    for (const v1::ProbeResult& result : event.generate->step().layer_statistics().results())
      found.emplace_back(event.generate->step().step(), result.index());
  }
  EXPECT_THAT(found, ElementsAre(std::pair(0, 1), std::pair(1, 0)));
}

TEST(GenerateJob, CapturesAndProbesAreOfWhatEachStepComputes) {
  const Generated generated = Generate(
      GenerationOf("captures { name: 'all' place { site: SITE_RESID_POST where { layers: 2 } } } "
                   "captures { name: 'late' place { site: SITE_PATTERN where { layers: 0 steps { "
                   "start: 1 } } } } "
                   "stop { max_new_tokens: 3 ignore_eos: true }"));
  EXPECT_THAT(generated.Tensor(0, 0, "all").sizes(), ElementsAre(4, 12));
  EXPECT_THAT(generated.Tensor(0, 2, "all").sizes(), ElementsAre(1, 12));
  EXPECT_THAT(generated.Tensor(0, 2, "late").sizes(), ElementsAre(3, 1, 6));
  EXPECT_ANY_THROW(generated.Tensor(0, 0, "late"));
}

TEST(GenerateJob, SendsNoMoreThanItReserved) {
  const v1::GenerateRequest request = GenerationOf(
      "captures { place { site: SITE_PATTERN } } captures { place { site: SITE_LOGITS } } "
      "probes { place { site: SITE_RESID_POST } statistics: STATISTIC_STD keep: AXIS_POSITION } "
      "logits { full {} } continuations: 3 unsteered: true "
      "stop { max_new_tokens: 9 ignore_eos: true }");
  const auto generation = test::CompileGenerationOrThrow(request);
  int64_t bytes = 0;
  for (const Event& event : Generate(request).events) {
    bytes +=
        event.tensor
            ? static_cast<int64_t>(event.tensor->header.ByteSizeLong() + event.tensor->bytes.size())
            : static_cast<int64_t>(event.generate->ByteSizeLong());
  }
  const int64_t reserved = generation->started().cost().response_bytes();
  EXPECT_LE(bytes, reserved);
  EXPECT_GT(bytes, reserved / 8);
}

}  // namespace
}  // namespace scalpel::engine
