#include "server/engine/wave.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/time/clock.h"
#include "server/engine/cone.h"
#include "server/engine/non_finite.h"
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

// Hands the results of one task to its work, and what it computed of clean runs to the cache.
void Finish(const model::Gpt2& gpt2, BaselineCache& cache, absl::Time began, WaveTap::Seat& seat,
            Member& member, absl::Span<model::RowAnswer> answers) {
  seat.tap.SendRest();
  TaskResult result{.logits = {},
                    .reports = seat.tap.Reports(),
                    .tokens_computed = 0,
                    .began = began,
                    .sender = &seat.sender};
  result.locate = [&](const spec::Plan& plan, int32_t row) {
    return FindFirstNonFinite(gpt2, plan, row, [&] { return member.work->StillWanted().ok(); });
  };
  for (size_t row = 0; row < answers.size(); ++row) {
    result.logits.push_back(std::move(answers[row].logits));
    result.tokens_computed += answers[row].tokens_computed;
    if (!answers[row].finite && !result.non_finite_row)
      result.non_finite_row = static_cast<int32_t>(row);
    if (answers[row].recorded == nullptr) continue;
    member.task->clean[row] = answers[row].recorded;
    cache.Add(std::move(answers[row].recorded));
  }
  member.work->Done(*member.task, std::move(result));
}

}  // namespace

Member MakeMember(std::shared_ptr<Work> work, std::unique_ptr<Task> task,
                  const model::Gpt2Config& config, BaselineCache& cache, int64_t record_bytes_max) {
  task->clean.resize(task->plan->rows.size());
  for (size_t row = 0; row < task->clean.size(); ++row) {
    if (task->clean[row] == nullptr) task->clean[row] = cache.Find(task->plan->tokens[row]);
  }
  Member member{std::move(work), std::move(task), {}, 0};
  member.rows = Cones(*member.task->plan, config, member.task->clean,
                      cache.enabled() || member.task->keeps_clean ? record_bytes_max : 0);
  for (const model::Row& row : member.rows) {
    if (!row.stops.empty()) member.tokens += static_cast<int64_t>(row.tokens.size()) - row.first;
  }
  return member;
}

WaveCounts RunWave(const model::Gpt2& gpt2, BaselineCache& cache, std::vector<Member>& members) {
  const absl::Time began = absl::Now();
  WaveTap tap;
  std::vector<model::Row> rows;
  for (Member& member : members) {
    tap.Add(*member.work, *member.task, gpt2.device());
    std::move(member.rows.begin(), member.rows.end(), std::back_inserter(rows));
  }
  auto answers = gpt2.Forward(rows, tap);
  WaveCounts counts;
  if (!answers) return counts;  // nobody waits any more
  for (size_t i = 0; i < members.size(); ++i) {
    WaveTap::Seat& seat = tap.seats()[i];
    if (!seat.wanted) continue;
    const spec::Plan& plan = *members[i].task->plan;
    const auto mine = absl::MakeSpan(*answers).subspan(seat.begin, plan.rows.size());
    counts += CountsOf(plan, gpt2.config(), mine);
    Finish(gpt2, cache, began, seat, members[i], mine);
  }
  return counts;
}

}  // namespace scalpel::engine
