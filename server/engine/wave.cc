#include "server/engine/wave.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "server/engine/failure.h"
#include "server/engine/fault_points.h"
#include "server/engine/job.h"
#include "server/engine/wave_tap.h"
#include "server/spec/cost.h"

namespace scalpel::engine {
namespace {

// What one task came to.
WaveCounts CountsOf(const spec::Plan& plan, const model::Gpt2Config& config,
                    absl::Span<const model::RowAnswer> answers) {
  WaveCounts counts;
  for (size_t row = 0; row < answers.size(); ++row) {
    ++counts.rows;
    counts.tokens += static_cast<int64_t>(plan.tokens[row].size());
    counts.tokens_computed += answers[row].tokens_computed;
    counts.flops += spec::EstimateRowFlops(plan, row, config);
    counts.flops_computed +=
        spec::RowFlops(plan, row, answers[row].attention_positions, answers[row].mlp_positions,
                       answers[row].tokens_computed > 0, config);
  }
  return counts;
}

// Hands what the task computed to the cache, and its results to its job.
void Finish(BaselineCache& cache, WaveTap::Seat& seat, absl::Span<model::RowAnswer> answers,
            absl::FunctionRef<void()> pause) {
  Task& task = seat.task;
  seat.tap.FinishPass();
  if (seat.tap.stopped()) return;  // Its caller has left.
  const auto goes_on = [&] {
    pause();
    return task.job->stream().StillWanted().ok();
  };
  TaskResult result{.logits = {},
                    .reports = seat.tap.Reports(),
                    .clean = {},
                    .tokens_computed = 0,
                    .began = *task.began,
                    .non_finite_row = {},
                    .sender = &seat.sender,
                    .goes_on = goes_on};
  for (size_t row = 0; row < answers.size(); ++row) {
    result.logits.push_back(answers[row].logits);
    result.tokens_computed += answers[row].tokens_computed;
    if (!answers[row].finite && !result.non_finite_row)
      result.non_finite_row = static_cast<int32_t>(row);
    if (answers[row].recorded == nullptr) continue;
    task.clean[row] = answers[row].recorded;
    cache.Add(task.job->stream().cache_scope(), answers[row].recorded);
  }
  result.clean = task.clean;
  task.done(std::move(result));
}

}  // namespace

WaveCounts RunWave(const model::Gpt2& gpt2, BaselineCache& cache, Wave& wave,
                   absl::FunctionRef<void()> pause) {
  WaveTap tap(pause);
  std::vector<model::Row> rows;
  for (Task& task : wave) {
    if (!task.began) task.began = absl::Now();
    task.sink->Restart();
    PassFaultPoint(FaultPoint::kPass, task.job->stream().request_id());
    tap.Add(task, gpt2.device());
    std::move(task.rows.begin(), task.rows.end(), std::back_inserter(rows));
  }
  auto answers = gpt2.Forward(rows, tap);
  WaveCounts counts;
  if (!answers) return counts;  // none is left
  for (WaveTap::Seat& seat : tap.seats()) {
    if (!seat.wanted) continue;
    const spec::Plan& plan = *seat.task.plan;
    const auto mine = absl::MakeSpan(*answers).subspan(seat.begin, plan.rows.size());
    const WaveCounts own = CountsOf(plan, gpt2.config(), mine);
    seat.task.failure = FailureOf([&] { Finish(cache, seat, mine, pause); });
    if (seat.task.failure == nullptr) counts += own;
  }
  return counts;
}

std::vector<std::shared_ptr<Job>> JobsOf(const Wave& wave) {
  std::vector<std::shared_ptr<Job>> jobs;
  for (const Task& task : wave) {
    if (std::find(jobs.begin(), jobs.end(), task.job) == jobs.end()) jobs.push_back(task.job);
  }
  return jobs;
}

std::string RequestIdsOf(const Wave& wave) {
  return absl::StrJoin(JobsOf(wave), ",", [](std::string* out, const std::shared_ptr<Job>& job) {
    absl::StrAppend(out, job->stream().request_id());
  });
}

FailedParts SplitFailed(Wave wave, bool all) {
  FailedParts parts;
  Wave rest;
  for (Task& task : wave) {
    if (task.failure != nullptr)
      parts.alone.emplace_back().push_back(std::move(task));
    else if (all)
      rest.push_back(std::move(task));
  }
  const auto middle = rest.begin() + static_cast<int64_t>((rest.size() + 1) / 2);
  Wave second(std::make_move_iterator(middle), std::make_move_iterator(rest.end()));
  rest.erase(middle, rest.end());
  if (!rest.empty()) parts.halves.push_back(std::move(rest));
  if (!second.empty()) parts.halves.push_back(std::move(second));
  return parts;
}

}  // namespace scalpel::engine
