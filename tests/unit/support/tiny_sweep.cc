#include "tests/unit/support/tiny_sweep.h"

#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/sweep_job.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::test {

v1::SweepRequest SweepOf(const std::string& text) {
  return FromText<v1::SweepRequest>(
      absl::StrCat("prompts { token_ids { ids: [1, 2, 3, 4] } } "
                   "prompts { token_ids { ids: [5, 6, 7] } } "
                   "sources { token_ids { ids: [4, 3, 2, 1] } } ",
                   text));
}

std::shared_ptr<const spec::Sweep> CompileSweepOrThrow(const v1::SweepRequest& request) {
  auto sweep = spec::CompileSweep(request, TinyFacts(), Limits());
  if (!sweep.ok()) throw std::invalid_argument(sweep.status().ToString());
  return *std::move(sweep);
}

const v1::SweepClean& SweepAnswer::Clean() const {
  for (const v1::SweepResponse& event : events) {
    if (event.has_clean()) return event.clean();
  }
  throw std::out_of_range("no clean runs");
}

std::map<int32_t, v1::VariantResult> SweepAnswer::Variants() const {
  std::map<int32_t, v1::VariantResult> variants;
  for (const v1::SweepResponse& event : events) {
    if (event.has_variant()) variants[event.variant().index()] = event.variant();
  }
  return variants;
}

std::vector<std::vector<double>> SweepAnswer::Values(const std::string& metric,
                                                     int32_t prompt) const {
  std::vector<std::vector<double>> values;
  for (const auto& [index, variant] : Variants()) {
    for (const v1::MetricResult& result : variant.metrics()) {
      if (result.name() == metric && result.prompt() == prompt)
        values.emplace_back(result.values().begin(), result.values().end());
    }
  }
  return values;
}

SweepAnswer AskSweep(const v1::SweepRequest& request, engine::BaselineCache& cache,
                     size_t wave_tasks) {
  const auto stream = std::make_shared<engine::EventStream>();
  const auto job = std::make_shared<engine::SweepJob>(stream, CompileSweepOrThrow(request));
  RunToEnd(*job, cache, wave_tasks);
  SweepAnswer answer;
  while (std::optional<engine::Event> event = stream->Pop())
    answer.events.push_back(*std::move(event->sweep));
  return answer;
}

SweepAnswer AskSweep(const v1::SweepRequest& request) {
  engine::BaselineCache nothing(0, 0);
  return AskSweep(request, nothing, 2);
}

}  // namespace scalpel::test
