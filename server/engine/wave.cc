#include "server/engine/wave.h"

#include <iterator>
#include <utility>

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
void Finish(BaselineCache& cache, WaveTap::Seat& seat, absl::Span<model::RowAnswer> answers) {
  Task& task = seat.task;
  seat.tap.FinishPass();
  if (seat.tap.stopped()) return;  // Its caller has left.
  TaskResult result{.logits = {},
                    .reports = seat.tap.Reports(),
                    .clean = {},
                    .tokens_computed = 0,
                    .began = *task.began,
                    .non_finite_row = {},
                    .sender = &seat.sender};
  for (size_t row = 0; row < answers.size(); ++row) {
    result.logits.push_back(answers[row].logits);
    result.tokens_computed += answers[row].tokens_computed;
    if (!answers[row].finite && !result.non_finite_row)
      result.non_finite_row = static_cast<int32_t>(row);
    if (answers[row].recorded == nullptr) continue;
    task.clean[row] = answers[row].recorded;
    cache.Add(answers[row].recorded);
  }
  result.clean = task.clean;
  task.done(std::move(result));
}

}  // namespace

WaveCounts RunWave(const model::Gpt2& gpt2, BaselineCache& cache, Wave& wave) {
  WaveTap tap;
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
    seat.task.failure = FailureOf([&] { Finish(cache, seat, mine); });
    if (seat.task.failure == nullptr) counts += own;
  }
  return counts;
}

}  // namespace scalpel::engine
