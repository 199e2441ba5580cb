// A sweep's results are those of its variants run one by one, however they run.

#include "server/engine/sweep_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "server/kernels/math64.h"
#include "server/spec/metrics.h"
#include "tests/unit/support/random_spec.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::engine {
namespace {

using test::Answer;
using test::Ask;
using test::AskSweep;
using test::SweepAnswer;
using test::SweepOf;
using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr char kMetrics[] = R"(
    metrics { name: "logits" logits { ids: [3, 9] } }
    metrics { name: "log_probs" log_probs { ids: [3, 9] } }
    metrics { name: "probabilities" probabilities { ids: 3 } }
    metrics { name: "ranks" ranks { ids: [3, 9] } }
    metrics { name: "diff" logit_diff { targets: [3, 9] distractors: 4 } }
    metrics { name: "kl" kl_from_clean {} }
    metrics { name: "first kl" position: 0 kl_from_clean {} }
    metrics { name: "agree" top1_agreement {} }
    metrics { name: "top" top_k { k: 2 } }
    metrics { name: "loss" loss {} }
    metrics { name: "score" patching_score { targets: 3 distractors: 4 sources: 0 } })";

constexpr char kHeadGrid[] = R"(
    grid { interventions { place { site: SITE_Z } zero {} } axes { layers {} } axes { heads {} } })";

// The sweep's variant as a Run of its prompts and sources, with all logits.
v1::RunRequest RunOf(const v1::SweepRequest& sweep, const v1::Variant& variant) {
  v1::RunRequest run;
  *run.mutable_prompts() = sweep.prompts();
  run.mutable_prompts()->MergeFrom(sweep.sources());
  *run.mutable_probes() = sweep.probes();
  *run.mutable_interventions() = variant.interventions();
  const auto restrict_to_edited = [&](v1::Place* place) {
    if (place->where().prompts_size() > 0) return;
    for (int i = 0; i < sweep.prompts_size(); ++i) place->mutable_where()->add_prompts(i);
  };
  for (auto& intervention : *run.mutable_interventions())
    restrict_to_edited(intervention.mutable_place());
  for (auto& probe : *run.mutable_probes()) restrict_to_edited(probe.mutable_place());
  if (sweep.has_seed()) run.set_seed(sweep.seed());
  run.mutable_logits()->mutable_full();
  run.mutable_logits()->mutable_positions()->mutable_range();
  return run;
}

absl::Span<const float> Row(const at::Tensor& logits, int64_t position) {
  const int64_t vocab = logits.size(1);
  return {logits.const_data_ptr<float>() + (position + logits.size(0)) % logits.size(0) * vocab,
          static_cast<size_t>(vocab)};
}

std::vector<double> LogProbRow(const at::Tensor& logits, int64_t position) {
  const at::Tensor row = spec::LogProbs(logits.select(0, position));
  return {row.const_data_ptr<double>(), row.const_data_ptr<double>() + row.numel()};
}

double Kl(const at::Tensor& clean, const at::Tensor& logits, int64_t position) {
  const std::vector<double> p = LogProbRow(clean, position), q = LogProbRow(logits, position);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return sum;
}

// The metrics of kMetrics, by their definitions, from all logits of a prompt.
void ExpectMetrics(const v1::VariantResult& variant, int32_t prompt, const at::Tensor& logits,
                   const at::Tensor& clean, const at::Tensor& source,
                   const std::vector<int32_t>& tokens) {
  std::map<std::string, const v1::MetricResult*> found;
  for (const v1::MetricResult& result : variant.metrics()) {
    if (result.prompt() == prompt) found[result.name()] = &result;
  }
  ASSERT_THAT(found, SizeIs(11));
  const absl::Span<const float> last = Row(logits, -1);
  const std::vector<double> log_probs = LogProbRow(logits, -1);
  EXPECT_THAT(found["logits"]->values(), ElementsAre(last[3], last[9]));
  EXPECT_THAT(found["log_probs"]->values(), ElementsAre(log_probs[3], log_probs[9]));
  EXPECT_THAT(found["probabilities"]->values(), ElementsAre(kernels::Exp(log_probs[3])));
  EXPECT_THAT(found["ranks"]->values(), ElementsAre(spec::RankOf(last, 3), spec::RankOf(last, 9)));
  const auto difference = [&](absl::Span<const float> row, int32_t target) {
    return static_cast<double>(row[target]) - row[4];
  };
  EXPECT_THAT(found["diff"]->values(), ElementsAre(difference(last, prompt == 0 ? 3 : 9)));
  EXPECT_NEAR(found["kl"]->values(0), Kl(clean, logits, -1), 1e-13);
  EXPECT_NEAR(found["first kl"]->values(0), Kl(clean, logits, 0), 1e-13);
  const std::vector<int32_t> top = spec::TopIds(last, 2);
  EXPECT_THAT(found["agree"]->values(), ElementsAre(top[0] == spec::TopIds(Row(clean, -1), 1)[0]));
  ASSERT_THAT(found["top"]->tokens(), SizeIs(2));
  EXPECT_EQ(found["top"]->tokens(1).token_id(), top[1]);
  EXPECT_EQ(found["top"]->tokens(1).logit(), last[top[1]]);
  double loss = 0;
  for (size_t i = 0; i + 1 < tokens.size(); ++i)
    loss -= LogProbRow(logits, static_cast<int64_t>(i))[tokens[i + 1]];
  EXPECT_NEAR(found["loss"]->values(0), loss / static_cast<double>(tokens.size() - 1), 1e-13);
  const double base = difference(Row(clean, -1), 3), other = difference(Row(source, -1), 3);
  EXPECT_EQ(found["score"]->values(0), (difference(last, 3) - base) / (other - base));
}

// Variants over the same prompts, of the interventions that random requests hold.
v1::SweepRequest RandomSweep(std::mt19937_64& random) {
  while (true) {
    const v1::RunRequest run = test::RandomRequest(random, test::TinyConfig());
    v1::SweepRequest sweep;
    *sweep.mutable_prompts() = run.prompts();
    *sweep.mutable_probes() = run.probes();
    sweep.set_seed(run.seed());
    auto* source = sweep.add_sources()->mutable_token_ids();
    for (int32_t i = 0; i < test::kRandomTokensMax; ++i) source->add_ids(7 + i % 3);
    bool longer = true;  // than one token, which has no loss
    for (const v1::Prompt& prompt : run.prompts())
      longer = longer && prompt.token_ids().ids_size() > 1;
    v1::VariantList* list = sweep.mutable_variants();
    list->add_variants();  // the clean run itself
    for (const v1::Intervention& intervention : run.interventions())
      *list->add_variants()->add_interventions() = intervention;
    *list->add_variants()->mutable_interventions() = run.interventions();
    for (v1::Variant& variant : *list->mutable_variants()) {
      for (v1::Intervention& intervention : *variant.mutable_interventions()) {
        if (intervention.patch().has_clean_prompt() && random() % 2 == 0)
          intervention.mutable_patch()->set_clean_prompt(run.prompts_size());  // the source
      }
    }
    sweep.set_reports(true);
    const std::string metrics = run.prompts_size() == 2 ? kMetrics : R"(
        metrics { name: "kl" kl_from_clean {} } metrics { name: "logits" logits { ids: [3, 9] } })";
    sweep.MergeFrom(test::FromText<v1::SweepRequest>(metrics));
    if (longer && spec::CompileSweep(sweep, test::TinyFacts(), Limits()).ok()) return sweep;
  }
}

// The variant's reports and statistics, as bytes.
std::set<std::string> Facts(const v1::VariantResult& variant) {
  std::set<std::string> facts;
  for (const auto& result : variant.statistics()) facts.insert(result.SerializeAsString());
  for (const auto& report : variant.reports()) facts.insert(report.SerializeAsString());
  return facts;
}

std::set<std::string> Facts(const Answer& answer, int32_t prompts) {
  std::set<std::string> facts;
  for (const Event& event : answer.events) {
    for (const auto& result : event.message.layer_statistics().results()) {
      if (!result.clean() && result.prompt() < prompts) facts.insert(result.SerializeAsString());
    }
    if (event.message.has_intervention_report())
      facts.insert(event.message.intervention_report().SerializeAsString());
  }
  return facts;
}

TEST(RandomSweeps, AnswersEqualThoseOfTheirVariantsAlone) {
  std::mt19937_64 random(41);
  BaselineCache warm(int64_t{1} << 30, static_cast<int32_t>(test::TinyConfig().n_layer));
  int moved = 0, variants = 0;
  for (int i = 0; i < 60; ++i) {
    const v1::SweepRequest request = RandomSweep(random);
    const SweepAnswer answer = i % 2 == 0 ? AskSweep(request) : AskSweep(request, warm, 3);
    const std::map<int32_t, v1::VariantResult> results = answer.Variants();
    ASSERT_THAT(results, SizeIs(request.variants().variants_size()));
    const Answer clean = Ask(RunOf(request, v1::Variant()));
    const at::Tensor source = clean.Tensor("logits", request.prompts_size());
    for (const auto& [index, result] : results) {
      const v1::Variant& variant = request.variants().variants(index);
      const Answer alone = Ask(RunOf(request, variant));
      ++variants;
      EXPECT_EQ(Facts(result), Facts(alone, request.prompts_size())) << variant.DebugString();
      for (int32_t prompt = 0; prompt < request.prompts_size(); ++prompt) {
        const at::Tensor logits = alone.Tensor("logits", prompt);
        const auto& ids = request.prompts(prompt).token_ids().ids();
        moved += !test::SameBits(logits, clean.Tensor("logits", prompt));
        for (const v1::MetricResult& metric : result.metrics()) {
          if (metric.name() != "logits" || metric.prompt() != prompt) continue;
          EXPECT_THAT(metric.values(), ElementsAre(Row(logits, -1)[3], Row(logits, -1)[9]))
              << variant.DebugString();
        }
        if (request.prompts_size() == 2)
          ExpectMetrics(result, prompt, logits, clean.Tensor("logits", prompt), source,
                        {ids.begin(), ids.end()});
      }
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(moved, variants / 2);
}

TEST(SweepJob, TellsOfTheCleanRunsFirst) {
  const SweepAnswer answer = AskSweep(SweepOf(std::string(kHeadGrid) + kMetrics + R"(
      probes { place { site: SITE_RESID_POST } statistics: [STATISTIC_STD, STATISTIC_COSINE] })"));
  ASSERT_TRUE(answer.events[0].has_clean());
  ASSERT_TRUE(answer.events[1].has_variant());
  const Answer run = Ask(R"(
      prompts { token_ids { ids: [4, 3, 2, 1] } }
      logits { full {} } probes { place { site: SITE_RESID_POST } statistics: STATISTIC_STD })");
  std::map<std::pair<std::string, int32_t>, const v1::MetricResult*> found;
  for (const v1::MetricResult& result : answer.Clean().metrics())
    found[{result.name(), result.prompt()}] = &result;
  for (int32_t prompt = 0; prompt < 3; ++prompt) {
    const at::Tensor logits = run.Tensor("logits", prompt);
    const absl::Span<const float> last = Row(logits, -1);
    EXPECT_THAT(found.at({"logits", prompt})->values(), ElementsAre(last[3], last[9]));
    EXPECT_TRUE(found.contains({"loss", prompt}));
    // Targets for each prompt say nothing of a source, and what is compared with the clean run
    // nothing of itself.
    EXPECT_EQ(found.contains({"diff", prompt}), prompt < 2);
    EXPECT_FALSE(found.contains({"kl", prompt}));
    EXPECT_FALSE(found.contains({"agree", prompt}));
  }
  const auto difference = [&](int32_t prompt) {
    const at::Tensor logits = run.Tensor("logits", prompt);
    return static_cast<double>(Row(logits, -1)[3]) - Row(logits, -1)[4];
  };
  EXPECT_THAT(found.at({"score", 1})->values(), ElementsAre(difference(1), difference(2)));
  ASSERT_THAT(answer.Clean().statistics(), SizeIs(3 * 2));
  const v1::ProbeResult& last = answer.Clean().statistics(5);
  EXPECT_TRUE(last.clean());
  EXPECT_EQ(last.statistics(0).values(0), run.Probe("resid_post[0]", 1, 2).statistics(0).values(0));
  EXPECT_NEAR(last.statistics(1).values(0), 1, 1e-12);
}

TEST(SweepJob, GathersMatricesAndEndsWithTheSum) {
  const SweepAnswer answer = AskSweep(SweepOf(std::string(kHeadGrid) + kMetrics));
  EXPECT_THAT(answer.Variants().at(5).coordinates(), ElementsAre(1, 2));
  const v1::SweepResponse& last = answer.events.back();
  ASSERT_TRUE(last.has_finished());
  EXPECT_EQ(last.finished().variants(), 9);
  EXPECT_GT(last.finished().tokens_computed(), 11);
}

TEST(SweepJob, ShowsProgressButNotForEveryVariant) {
  const SweepAnswer answer = AskSweep(SweepOf(std::string(kHeadGrid) + kMetrics));
  int progress = 0;
  for (const v1::SweepResponse& event : answer.events) {
    if (!event.has_progress()) continue;
    ++progress;
    EXPECT_EQ(event.progress().total(), 9);
  }
  EXPECT_GE(progress, 1);
  EXPECT_LT(progress, 9);
}

// What the variants share with the clean runs is not computed again, with and without a cache.
TEST(SweepJob, ComputesCleanRunsOnce) {
  const v1::SweepRequest request = SweepOf(R"(variants {
      variants { interventions { place { site: SITE_LN_F_OUT } zero {} } }
      variants { interventions { place { site: SITE_RESID_POST where { prompts: 0 layers: 2 } }
                                 patch { clean_prompt: 2 } } } }
      metrics { kl_from_clean {} })");
  const SweepAnswer answer = AskSweep(request);
  EXPECT_GT(answer.Values("kl_from_clean[0]")[0][0], 0);
  EXPECT_GT(answer.Values("kl_from_clean[0]")[1][0], 0);
  // The clean runs; every edited position; and the last one of the row that is not edited.
  EXPECT_LE(answer.events.back().finished().tokens_computed(), 11 + (4 + 3) + (4 + 1));
}

TEST(SweepJob, StaysWithinItsEstimate) {
  std::mt19937_64 random(42);
  for (int i = 0; i < 20; ++i) {
    const v1::SweepRequest request = RandomSweep(random);
    const auto sweep = test::CompileSweepOrThrow(request);
    int64_t bytes = static_cast<int64_t>(sweep->started().ByteSizeLong());
    for (const v1::SweepResponse& event : AskSweep(request).events)
      bytes += 5 + static_cast<int64_t>(event.ByteSizeLong());
    EXPECT_LE(bytes, sweep->started().cost().response_bytes());
  }
}

TEST(SweepJob, GivesOutVariantsOnceTheCleanRunsAreDone) {
  const auto stream = std::make_shared<EventStream>();
  const auto job = std::make_shared<SweepJob>(
      stream, test::CompileSweepOrThrow(SweepOf(std::string(kHeadGrid) + kMetrics)));
  Wave wave;
  wave.push_back(*job->NextTask());
  EXPECT_FALSE(job->NextTask());
  BaselineCache nothing(0, 0);
  test::RunOrThrow(wave, nothing);
  EXPECT_TRUE(stream->Pop()->sweep->has_clean());
  for (int i = 0; i < 9; ++i) EXPECT_TRUE(job->NextTask()) << i;
  EXPECT_FALSE(job->NextTask());
  EXPECT_FALSE(job->AllDone());
}

}  // namespace
}  // namespace scalpel::engine
