// What a generation computes step by step, with keys and values that it keeps, is what plain Runs
// of the whole sequence compute: at random requests, bit for bit.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/spec/sites.h"
#include "tests/unit/support/random_spec.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_generate.h"

namespace scalpel::engine {
namespace {

using test::Ask;
using test::Generate;
using test::Generated;

constexpr int kGenerations = 400;
constexpr int32_t kSteps = 5;

// A sequence as it is when a step begins, and the first position that the step computes.
struct Moment {
  std::vector<int32_t> tokens;
  int64_t first;
};

// What `said` means in the sequence, of the positions that the step computes. Absolute positions
// that are not there yet are left out.
std::vector<int64_t> Meant(const v1::Selection& where, const Moment& at) {
  const auto length = static_cast<int64_t>(at.tokens.size());
  std::vector<int64_t> all;
  const v1::Positions& said = where.positions();
  if (!where.has_positions()) {
    for (int64_t i = 0; i < length; ++i) all.push_back(i);
  } else if (said.has_indices()) {
    for (const int64_t index : said.indices().values())
      all.push_back(index < 0 ? index + length : index);
  } else if (said.has_range()) {
    const v1::Range& range = said.range();
    const int64_t start = range.start() < 0 ? range.start() + length : range.start();
    int64_t end = range.has_end() ? range.end() : length;
    if (end < 0) end += length;
    for (int64_t i = start; i < end; i += range.has_step() ? range.step() : 1) all.push_back(i);
  } else {
    for (int64_t i = 0; i < length; ++i) {
      const auto& ids = said.tokens().ids();
      if (std::find(ids.begin(), ids.end(), at.tokens[i]) != ids.end()) all.push_back(i);
    }
  }
  std::vector<int64_t> meant;
  for (const int64_t position : all) {
    const bool again = std::find(meant.begin(), meant.end(), position) != meant.end();
    if (position >= at.first && position < length && !again) meant.push_back(position);
  }
  return meant;
}

bool Selects(const v1::Range& steps, int64_t step) {
  return step >= steps.start() && (!steps.has_end() || step < steps.end());
}

// Keeps the place of an intervention in the list, by whose index noise is made, and changes
// nothing.
void MakeNothing(v1::Intervention* edit) {
  edit->Clear();
  edit->mutable_place()->set_site(v1::SITE_RESID_POST);
  edit->mutable_scale()->set_factor(1);
}

// A Run of the last sequence whose edits are those of all steps up to it: each at the positions
// that its steps meant.
v1::RunRequest RunOf(const v1::GenerateRequest& request, const std::vector<Moment>& moments,
                     int32_t prompt) {
  v1::RunRequest run;
  run.set_seed(request.seed());
  *run.mutable_prompts() = request.prompts();
  const Moment& now = moments.back();
  run.mutable_prompts(prompt)->mutable_token_ids()->mutable_ids()->Assign(now.tokens.begin(),
                                                                          now.tokens.end());
  const bool recompute = request.reuse_kv() == v1::KV_REUSE_RECOMPUTE_ALL;
  for (const v1::Intervention& one : request.interventions()) {
    v1::Intervention* edit = run.add_interventions();
    *edit = one;
    v1::Selection* where = edit->mutable_place()->mutable_where();
    where->clear_steps();
    const auto& prompts = one.place().where().prompts();
    if (std::find(prompts.begin(), prompts.end(), prompt) == prompts.end()) {
      MakeNothing(edit);
      continue;
    }
    where->clear_prompts();
    where->add_prompts(prompt);
    // What is read is what the prompt's own step reads.
    if (edit->has_patch() && !edit->patch().has_positions() && where->has_positions())
      *edit->mutable_patch()->mutable_positions() = where->positions();
    if (edit->has_mean() && (!recompute || edit->mean().has_over())) {
      v1::Selection over;
      if (edit->mean().has_over()) *over.mutable_positions() = edit->mean().over();
      const auto meant = Meant(over, recompute ? now : moments.front());
      if (meant.empty()) {
        MakeNothing(edit);
        continue;
      }
      auto* values = edit->mutable_mean()->mutable_over()->mutable_indices()->mutable_values();
      values->Assign(meant.begin(), meant.end());
    }
    std::vector<int64_t> positions;
    for (size_t step = recompute ? moments.size() - 1 : 0; step < moments.size(); ++step) {
      if (!Selects(one.place().where().steps(), static_cast<int64_t>(step))) continue;
      const auto meant = Meant(one.place().where(), moments[step]);
      positions.insert(positions.end(), meant.begin(), meant.end());
    }
    if (positions.empty()) {
      MakeNothing(edit);
      continue;
    }
    where->mutable_positions()->mutable_indices()->mutable_values()->Assign(positions.begin(),
                                                                            positions.end());
  }
  run.mutable_logits()->mutable_full();
  return run;
}

// A request whose interventions are those of a random Run, with random steps.
v1::GenerateRequest RandomGeneration(std::mt19937_64& random) {
  const v1::RunRequest run = test::RandomRequest(random, test::TinyConfig());
  v1::GenerateRequest request;
  *request.mutable_prompts() = run.prompts();
  *request.mutable_probes() = run.probes();
  *request.mutable_captures() = run.captures();
  request.set_seed(run.seed());
  request.set_allow_non_finite(run.allow_non_finite());
  for (const v1::Intervention& one : run.interventions()) {
    if (one.knockout().pairs_size() > 0 || one.place().where().has_key_positions()) continue;
    // At an attention site noise is numbered by the sequence's length, which is each step's own.
    const spec::SiteEntry* site = spec::FindSite(one.place().site());
    if (one.has_noise() && site != nullptr && spec::IsAttention(site->facts)) continue;
    *request.add_interventions() = one;
    v1::Range* steps = request.mutable_interventions()
                           ->rbegin()
                           ->mutable_place()
                           ->mutable_where()
                           ->mutable_steps();
    switch (random() % 4) {
      case 0:
        steps->set_end(1);
        break;
      case 1:
        steps->set_start(1);
        break;
      case 2:
        steps->set_start(static_cast<int64_t>(random() % 2));
        steps->set_end(3);
        break;
      default:
        break;
    }
  }
  request.set_reuse_kv(static_cast<v1::KvReuse>(1 + random() % 3));
  request.set_unsteered(random() % 2 == 0);
  request.mutable_stop()->set_max_new_tokens(kSteps);
  request.mutable_stop()->set_ignore_eos(true);
  request.mutable_logits()->mutable_full();
  return request;
}

// Compares every step of every stream with the Run; how many steps were.
int CompareWithRuns(const v1::GenerateRequest& request, const spec::Generation& generation,
                    const Generated& generated) {
  int compared = 0;
  for (size_t index = 0; index < generation.streams().size(); ++index) {
    const spec::GenerationStream& stream = generation.streams()[index];
    v1::GenerateRequest asked = request;
    if (stream.unsteered) asked.clear_interventions();
    std::vector<Moment> moments;
    std::vector<int32_t> tokens = generation.prompts()[stream.prompt];
    const auto ids = generated.Ids(static_cast<int32_t>(index));
    for (size_t step = 0; step < ids.size(); ++step) {
      const bool kept = generation.KeepsKeys(stream) && step > 0;
      moments.push_back({tokens, kept ? static_cast<int64_t>(tokens.size()) - 1 : 0});
      tokens.push_back(ids[step]);
      const v1::RunRequest run = RunOf(asked, moments, stream.prompt);
      const auto plan = spec::Compile(run, test::TinyFacts(), Limits());
      if (!plan.ok()) {
        ADD_FAILURE() << plan.status() << "\n" << request.ShortDebugString();
        continue;
      }
      const at::Tensor expected = Ask(*plan).Tensor("logits", stream.prompt);
      const at::Tensor actual =
          generated.Tensor(static_cast<int32_t>(index), static_cast<int32_t>(step), "logits");
      EXPECT_TRUE(test::SameBits(expected, actual))
          << "stream " << index << " step " << step << "\n"
          << request.ShortDebugString() << "\n"
          << run.ShortDebugString();
      ++compared;
    }
  }
  return compared;
}

TEST(RandomGenerations, StepsEqualRunsOfTheWholeSequence) {
  std::mt19937_64 random(16);
  int refused = 0, edited = 0, later = 0;
  for (int done = 0; done < kGenerations;) {
    const v1::GenerateRequest request = RandomGeneration(random);
    const auto generation = spec::CompileGeneration(request, test::TinyFacts(), Limits());
    if (!generation.ok()) {
      ASSERT_EQ(generation.status().code(), absl::StatusCode::kInvalidArgument)
          << generation.status();
      ASSERT_LT(++refused, 40 * kGenerations) << generation.status();
      continue;
    }
    ++done;
    const Generated generated = Generate((*generation)->request());
    const int compared = CompareWithRuns((*generation)->request(), **generation, generated);
    if (request.interventions().empty()) continue;
    edited += compared;
    for (int i = 0; i < request.interventions_size(); ++i) {
      if (generated.Report(i).elements_changed() > 0) ++later;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(edited, 4 * kGenerations) << refused;
  EXPECT_GT(later, kGenerations / 2);
}

// What is told of a stream does not depend on how many run beside it, nor on what is cached.
TEST(RandomGenerations, DoNotDependOnCompanyOrCache) {
  std::mt19937_64 random(17);
  engine::BaselineCache warm(1 << 30, 3);
  for (int done = 0; done < kGenerations / 3;) {
    const v1::GenerateRequest request = RandomGeneration(random);
    const auto generation = spec::CompileGeneration(request, test::TinyFacts(), Limits());
    if (!generation.ok()) continue;
    ++done;
    engine::BaselineCache nothing(0, 0);
    const Generated alone = Generate(request, nothing, 1);
    for (const Generated& other :
         {Generate(request, nothing, 7), Generate(request, warm, 2), Generate(request, warm, 5)}) {
      for (size_t i = 0; i < (*generation)->streams().size(); ++i) {
        const auto stream = static_cast<int32_t>(i);
        ASSERT_EQ(alone.Facts(stream), other.Facts(stream)) << request.ShortDebugString();
      }
    }
  }
}

}  // namespace
}  // namespace scalpel::engine
