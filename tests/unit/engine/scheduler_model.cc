#include "tests/unit/engine/scheduler_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/run_job.h"
#include "server/engine/sweep_job.h"
#include "tests/unit/support/random_spec.h"
#include "tests/unit/support/read_events.h"
#include "tests/unit/support/throw.h"
#include "tests/unit/support/tiny.h"
#include "tests/unit/support/tiny_sweep.h"

namespace scalpel::engine {
namespace {

using test::Wrong;

constexpr int kRuns = 24;
constexpr const char* kSweeps[] = {
    R"(grid { interventions { place { site: SITE_Z } zero {} } axes { layers {} } axes { heads {} } }
       probes { place { site: SITE_RESID_POST } statistics: STATISTIC_STD } reports: true
       metrics { kl_from_clean {} })",
    R"(grid { interventions { place { site: SITE_EMBED } scale {} }
              axes { values { values: [0, 1, 2, 3, 4, 5, 6] } } }
       metrics { kl_from_clean {} })",
    R"(grid { interventions { place { site: SITE_RESID_POST } scale { factor: 3 } }
              axes { layers {} } }
       metrics { top_k { k: 2 } })"};

void AddSize(const spec::Plan& plan, Stocked& stocked) {
  stocked.rows += static_cast<int64_t>(plan.rows.size());
  for (const auto& tokens : plan.tokens) stocked.tokens += static_cast<int64_t>(tokens.size());
}

Stocked OfRun(std::shared_ptr<const spec::Plan> plan) {
  Stocked run{.job = [plan](std::shared_ptr<EventStream> stream) -> std::shared_ptr<Job> {
    return std::make_shared<RunJob>(std::move(stream), plan);
  }};
  run.alone = test::ReadEvents(test::Ask(plan).events);
  run.bytes = plan->started.cost().response_bytes();
  AddSize(*plan, run);
  return run;
}

Stocked OfSweep(const v1::SweepRequest& request) {
  const auto compiled = test::CompileSweepOrThrow(request);
  Stocked sweep{.job = [compiled](std::shared_ptr<EventStream> stream) -> std::shared_ptr<Job> {
                  return std::make_shared<SweepJob>(std::move(stream), compiled);
                },
                .sweep = true};
  for (const v1::SweepResponse& response : test::AskSweep(request).events) {
    Event event;
    event.sweep = response;
    if (auto bytes = test::ReadEvent(std::move(event))) sweep.alone.push_back(*std::move(bytes));
  }
  sweep.bytes = compiled->started().cost().response_bytes();
  AddSize(*compiled->base(), sweep);
  for (int32_t variant = 0; variant < compiled->variants(); ++variant)
    AddSize(*compiled->VariantPlan(variant), sweep);
  return sweep;
}

}  // namespace

std::vector<Stocked> MakeStock() {
  std::vector<Stocked> stock;
  test::Random random(41);
  while (stock.size() < kRuns) {
    const v1::RunRequest request = test::RandomRequest(random, test::TinyConfig());
    auto plan = spec::Compile(request, test::TinyFacts(), Limits());
    if (plan.ok()) stock.push_back(OfRun(*std::move(plan)));
  }
  for (const char* text : kSweeps) stock.push_back(OfSweep(test::SweepOf(text)));
  return stock;
}

// ---- faults -------------------------------------------------------------------------------------

void FaultBook::Add(const std::string& request_id, const Fault& fault) {
  absl::MutexLock lock(&mutex_);
  lines_[request_id] = {.fault = fault};
}

void FaultBook::Pass(FaultPoint point, std::string_view request_id) {
  int kind = 0;
  {
    absl::MutexLock lock(&mutex_);
    const auto found = lines_.find(request_id);
    if (found == lines_.end()) return;
    Line& line = found->second;
    if (line.fault.point != point || ++line.passed < line.fault.nth) return;
    if (line.thrown && line.fault.once) return;
    line.thrown = true;
    kind = line.fault.kind;
  }
  test::Throw(kind);
}

bool FaultBook::Thrown(const std::string& request_id) const {
  absl::MutexLock lock(&mutex_);
  const auto found = lines_.find(request_id);
  return found != lines_.end() && found->second.thrown;
}

// ---- calls --------------------------------------------------------------------------------------

ModelCall::ModelCall(const Stocked& what, const std::string& request_id, absl::Time deadline,
                     std::optional<Fault> fault)
    : what_(what),
      deadline_(deadline),
      fault_(fault),
      stream_(std::make_shared<EventStream>(request_id, deadline)),
      job_(what.job(stream_)),
      watched_(job_),
      had_(what.alone.size()) {}

void ModelCall::Cancel() {
  cancelled_ = true;
  stream_->Cancel();
}

Wrong ModelCall::Read(int events, const FaultBook& faults) {
  for (; events > 0; --events) {
    std::optional<Event> event = stream_->Pop();
    if (!event) break;
    if (cancelled_) return "an event comes after the call was cancelled";
    if (end_) return "an event comes after the end";
    if (std::optional<std::string> bytes = test::ReadEvent(*std::move(event))) {
      if (const Wrong wrong = Accept(*std::move(bytes))) return wrong;
    }
  }
  const std::optional<absl::Status> end = stream_->End();
  if (!end) return end_ ? Wrong("it had ended, and goes on") : std::nullopt;
  if (end_) return *end == *end_ ? std::nullopt : Wrong("it ends once more, otherwise");
  end_ = end;
  return CheckEnd(faults);
}

// A run's events come in order; a sweep's clean runs first, its variants in any order, its end
// last.
Wrong ModelCall::Accept(std::string bytes) {
  const size_t all = what_.alone.size();
  if (read_ == all) return "more events come than it gets alone";
  size_t at = read_;
  if (what_.sweep && read_ > 0 && read_ + 1 < all) {
    at = 1;
    while (at < all && (had_[at] || what_.alone[at] != bytes)) ++at;
  }
  if (at == all || what_.alone[at] != bytes)
    return absl::StrCat("event ", read_, " of ", all, " is not what it gets alone, or comes twice");
  had_[at] = true;
  ++read_;
  return std::nullopt;
}

Wrong ModelCall::CheckEnd(const FaultBook& faults) const {
  const bool thrown = faults.Thrown(stream_->request_id());
  const auto must = [this](bool holds) -> Wrong {
    if (holds) return std::nullopt;
    return absl::StrCat("it ends without cause with ", end_->ToString());
  };
  switch (end_->code()) {
    case absl::StatusCode::kOk:
      if (!cancelled_ && read_ != what_.alone.size())
        return absl::StrCat("it ends after ", read_, " of ", what_.alone.size(), " events");
      return must(!thrown || fault_->once);
    case absl::StatusCode::kCancelled:
      return must(cancelled_);
    case absl::StatusCode::kDeadlineExceeded:
      return must(absl::Now() >= deadline_);
    case absl::StatusCode::kUnavailable:
      return must(aborted_);
    default:
      return must(thrown && end_->code() == test::CodeOfThrown(fault_->kind));
  }
}

}  // namespace scalpel::engine
