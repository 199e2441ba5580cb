// Four ideas:
//
// - The lock guards the list of jobs and nothing else. Whatever takes time (compiling a variant,
//   looking up clean runs, the pass, waking a reader) is done without it, on a copy of the list, so
//   GetStatus and Submit never wait. A job that is taken off the list meanwhile, because its call
//   left or the server stops, is noticed after the next layer at the latest.
// - Turns are a rotation of the list: a wave serves it from the front, and what was served goes to
//   the back.
// - A heavy task cannot be put aside, but calls back at every layer, step and observation (Pause):
//   from there, and on the same thread, whole waves of light tasks run before it goes on.
// - What failed in company runs again in halves, so that n tasks with one culprit take about
//   2 log2(n) passes more, of smaller and smaller waves. A task whose own part failed is known to
//   be suspect, and runs again alone at once.

#include "server/engine/scheduler.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/engine/failure.h"
#include "server/engine/fault_points.h"
#include "server/engine/non_finite.h"

namespace scalpel::engine {
namespace {

// How often a heavy task looks whether others wait.
constexpr absl::Duration kInterludeInterval = absl::Milliseconds(1);
constexpr char kDraining[] = "the server is shutting down; try another replica";
constexpr char kDeviceFailed[] = "the server's device has failed; try another replica";

// Refuses what a later try may find room for.
absl::Status Full(Reason reason, const std::string& why) {
  return WithReason(reason, Busy(absl::StrCat(why, "; try again"), kRetryDelay));
}

// Without a lock, since readers are woken: they may come back with more jobs.
void CloseUnwanted(const std::vector<std::shared_ptr<Job>>& jobs) {
  for (const auto& job : jobs) job->stream().Close(job->stream().StillWanted());
}

}  // namespace

Scheduler::Scheduler(const model::Gpt2& gpt2, const Limits& limits,
                     std::function<void()> device_failed)
    : gpt2_(gpt2),
      limits_(limits),
      device_failed_(std::move(device_failed)),
      buffered_bytes_(limits->max_buffered_bytes()),
      kv_bytes_(limits->max_kv_bytes()),
      cache_(limits->baseline_cache_bytes(), static_cast<int32_t>(gpt2.config().n_layer)),
      thread_([this] { Loop(); }) {}

Scheduler::~Scheduler() {
  StopAdmission();
  CancelAll();
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

// ---- admission ----------------------------------------------------------------------------------

absl::Status Scheduler::Submit(std::shared_ptr<Job> job) {
  Jobs unwanted;
  const auto close = absl::MakeCleanup([&unwanted] { CloseUnwanted(unwanted); });
  absl::MutexLock lock(&mutex_);
  if (absl::Status status = CheckPlace(&unwanted); !status.ok()) return status;
  if (auto buffer = buffered_bytes_.Reserve(job->response_bytes())) {
    job->stream().Hold(std::move(buffer));
  } else {
    return Full(Reason::kBufferedBytes, absl::StrCat("responses of ", buffered_bytes_.limit(),
                                                     " bytes are waiting for their readers"));
  }
  if (auto keys = kv_bytes_.Reserve(job->kv_bytes())) {
    job->Hold(std::move(keys));
  } else {
    return Full(Reason::kKvBytes, absl::StrCat("generations keep keys and values of up to ",
                                               kv_bytes_.limit(), " bytes"));
  }
  jobs_.push_back({.turn = {std::move(job)}});
  return absl::OkStatus();
}

absl::Status Scheduler::Admission() {
  Jobs unwanted;
  const auto close = absl::MakeCleanup([&unwanted] { CloseUnwanted(unwanted); });
  absl::MutexLock lock(&mutex_);
  return CheckPlace(&unwanted);
}

absl::Status Scheduler::CheckPlace(Jobs* unwanted) {
  if (!admission_.ok()) return admission_;
  if (Waiting() < limits_->max_queue()) return absl::OkStatus();
  *unwanted = TakeUnwanted();
  if (Waiting() < limits_->max_queue()) return absl::OkStatus();
  return Full(Reason::kQueueFull,
              absl::StrCat("the queue is full (", limits_->max_queue(), " requests)"));
}

void Scheduler::StopAdmission() {
  absl::MutexLock lock(&mutex_);
  admission_.Update(absl::UnavailableError(kDraining));
}

bool Scheduler::WaitIdle(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return jobs_.empty() && !running_;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&idle), timeout);
}

void Scheduler::CancelAll() { AbortAll(absl::UnavailableError(kDraining)); }

void Scheduler::AbortAll(const absl::Status& status) {
  std::deque<Entry> jobs;
  {
    absl::MutexLock lock(&mutex_);
    jobs.swap(jobs_);
  }
  // Without the lock: readers are woken.
  for (const Entry& entry : jobs) entry.turn.job->stream().Abort(status);
}

Scheduler::Jobs Scheduler::TakeUnwanted() {
  const auto unwanted = std::stable_partition(jobs_.begin(), jobs_.end(), [](const Entry& entry) {
    return entry.turn.job->stream().StillWanted().ok();
  });
  Jobs taken;
  for (auto entry = unwanted; entry != jobs_.end(); ++entry)
    taken.push_back(std::move(entry->turn.job));
  jobs_.erase(unwanted, jobs_.end());
  return taken;
}

// ---- counts -------------------------------------------------------------------------------------

BaselineCache::Counts Scheduler::cache_counts() const {
  absl::MutexLock lock(&mutex_);
  return cache_counts_;
}

EngineCounts Scheduler::counts() const {
  absl::MutexLock lock(&mutex_);
  EngineCounts counts = counts_;
  counts.queued = Waiting();
  counts.running = static_cast<int64_t>(jobs_.size()) - counts.queued;
  counts.buffered_bytes = buffered_bytes_.used();
  counts.kv_bytes = kv_bytes_.used();
  return counts;
}

void Scheduler::Count(const WaveCounts& wave, absl::Duration busy) {
  absl::MutexLock lock(&mutex_);
  ++counts_.waves;
  counts_.done += wave;
  counts_.busy += busy;
  cache_counts_ = cache_.counts();
}

int64_t Scheduler::Waiting() const {
  return std::count_if(jobs_.begin(), jobs_.end(),
                       [](const Entry& entry) { return !entry.started; });
}

// ---- waves --------------------------------------------------------------------------------------

void Scheduler::Loop() {
  const c10::InferenceMode inference_only;
  at::set_num_threads(1);  // libtorch's own threads would only stand in the way of the kernels'
  while (true) {
    try {
      Wave wave = NextWave();
      if (wave.empty()) return;
      Run(std::move(wave));
    } catch (const c10::AcceleratorError&) {
      FailDevice(std::current_exception());
    }
  }  // what the wave held is freed before the next is waited for
}

Wave Scheduler::NextWave() {
  while (true) {
    Jobs unwanted;
    Turns turns;
    {
      absl::MutexLock lock(&mutex_);
      running_ = !retries_.empty();
      const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return !jobs_.empty() || running_ || stopping_;
      };
      mutex_.Await(absl::Condition(&ready));
      if (stopping_) return {};
      running_ = true;
      unwanted = TakeUnwanted();
      if (retries_.empty()) turns = TakeTurns();
    }
    CloseUnwanted(unwanted);
    Wave wave = retries_.empty() ? Fill(std::move(turns), /*light_only=*/false) : NextRetry();
    if (!wave.empty()) return wave;
  }
}

void Scheduler::Pause() {
  const absl::Time began = absl::Now();
  if (in_interlude_ || began < next_interlude_) return;
  in_interlude_ = true;
  const auto over = absl::MakeCleanup([this, began] {
    const absl::Time now = absl::Now();
    in_interlude_ = false;
    interludes_ += now - began;
    // The heavy task goes on for as long at least.
    next_interlude_ = now + std::max(now - began, kInterludeInterval);
  });
  Jobs unwanted;
  Turns turns;
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    unwanted = TakeUnwanted();
    turns = TakeTurns();
  }
  CloseUnwanted(unwanted);
  Wave wave = Fill(std::move(turns), /*light_only=*/true);
  if (!wave.empty()) Run(std::move(wave));
}

void Scheduler::PrepareTask(Task& task) {
  Prepare(task, gpt2_.config(), cache_, limits_->max_record_bytes());
}

Wave Scheduler::NextRetry() {
  Wave failed = std::move(retries_.front()), wave;
  retries_.pop_front();
  Endings endings;
  for (Task& task : failed) {
    if (!task.job->stream().StillWanted().ok()) continue;
    task.failure = FailureOf([&] { PrepareTask(task); });
    if (task.failure != nullptr) {
      endings.emplace_back(task.job, Fail(*task.job, task.failure));
    } else {
      wave.push_back(std::move(task));
    }
  }
  End(endings);
  return wave;
}

Wave Scheduler::Fill(Turns turns, bool light_only) {
  FilledWave filled = FillWave(turns, limits_->wave_tokens(), light_only,
                               [this](Task& task) { PrepareTask(task); });
  Endings endings;
  for (const auto& [job, failure] : filled.failed) endings.emplace_back(job, Fail(*job, failure));
  End(endings);
  Turned(std::move(turns), filled.wave);
  return std::move(filled.wave);
}

Turns Scheduler::TakeTurns() {
  Turns turns;
  for (Entry& entry : jobs_)
    turns.push_back({entry.turn.job, std::exchange(entry.turn.held, std::nullopt)});
  return turns;
}

void Scheduler::Turned(Turns turns, const Wave& wave) {
  const Jobs served = JobsOf(wave);
  absl::MutexLock lock(&mutex_);
  for (Entry& entry : jobs_) {
    entry.started =
        entry.started || std::find(served.begin(), served.end(), entry.turn.job) != served.end();
  }
  const auto find = [this](const std::shared_ptr<Job>& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::find_if(jobs_.begin(), jobs_.end(),
                        [&job](const Entry& entry) { return entry.turn.job == job; });
  };
  if (turns.empty()) return;
  const auto next = find(turns.front().job);
  if (next != jobs_.end()) std::rotate(jobs_.begin(), next, jobs_.end());
  for (Turn& turn : turns) {
    if (!turn.held) continue;
    const auto entry = find(turn.job);  // unless the call has left, and what is held with it
    if (entry != jobs_.end()) entry->turn.held = std::move(turn.held);
  }
}

void Scheduler::Run(Wave wave) {
  const Jobs jobs = JobsOf(wave);
  Endings endings;
  {
    const absl::Time began = absl::Now();
    const absl::Duration others = interludes_;
    WaveCounts counts;
    const auto count =
        absl::MakeCleanup([&] { Count(counts, absl::Now() - began - (interludes_ - others)); });
    const bool heavy = IsHeavy(wave.front(), limits_->wave_tokens());
    const std::exception_ptr shared = FailureOf([&] {
      counts = RunWave(gpt2_, cache_, wave, [&] {
        if (heavy) Pause();
      });
    });
    Retry(std::move(wave), shared, &endings);
    for (const std::shared_ptr<Job>& job : jobs) {
      const absl::Status wanted = job->stream().StillWanted();
      if (job->AllDone()) {
        endings.emplace_back(job, FinishJob(*job));
      } else if (!wanted.ok()) {
        endings.emplace_back(job, wanted);
      }
    }
  }
  End(endings);
}

absl::Status Scheduler::FinishJob(Job& job) {
  const auto wanted = [this, &job] {
    Pause();
    return job.stream().StillWanted().ok();
  };
  const auto locate = [&](const spec::Plan& plan, int32_t row) {
    return FindFirstNonFinite(gpt2_, plan, row, wanted);
  };
  const std::exception_ptr failure = FailureOf([&] {
    PassFaultPoint(FaultPoint::kFinish, job.stream().request_id());
    job.Finish(locate);
  });
  return failure == nullptr ? absl::OkStatus() : Fail(job, failure);
}

// ---- failures -----------------------------------------------------------------------------------

void Scheduler::Retry(Wave wave, const std::exception_ptr& shared, Endings* endings) {
  // In an interlude no task is alone: the heavy one has its memory.
  if (wave.size() == 1 && !in_interlude_) {
    const Task& task = wave.front();
    const std::exception_ptr& failure = task.failure != nullptr ? task.failure : shared;
    if (failure != nullptr) endings->emplace_back(task.job, Fail(*task.job, failure));
    return;
  }
  if (shared != nullptr) {
    spdlog::warn("request={} failed together, and run again in parts: {}", RequestIdsOf(wave),
                 TextOf(shared));
  }
  for (const Task& task : wave) {
    if (task.failure == nullptr) continue;
    spdlog::warn("request={} failed in company, and runs again alone: {}",
                 task.job->stream().request_id(), TextOf(task.failure));
  }
  FailedParts parts = SplitFailed(std::move(wave), /*all=*/shared != nullptr);
  std::move(parts.halves.rbegin(), parts.halves.rend(), std::front_inserter(retries_));
  std::move(parts.alone.begin(), parts.alone.end(), std::back_inserter(retries_));
}

absl::Status Scheduler::Fail(const Job& job, const std::exception_ptr& failure) {
  const std::string& request_id = job.stream().request_id();
  spdlog::error("request={} failed: {}", request_id, TextOf(failure));
  return StatusOf(failure, request_id);
}

void Scheduler::End(const Endings& endings) {
  const auto ended = [&endings](const std::shared_ptr<Job>& job) {
    return std::any_of(endings.begin(), endings.end(),
                       [&job](const auto& ending) { return ending.first == job; });
  };
  for (Wave& wave : retries_) {
    std::erase_if(wave, [&ended](const Task& task) { return ended(task.job); });
  }
  {
    absl::MutexLock lock(&mutex_);
    std::erase_if(jobs_, [&ended](const Entry& entry) { return ended(entry.turn.job); });
  }
  for (const auto& [job, status] : endings) job->stream().Close(status);
}

void Scheduler::FailDevice(const std::exception_ptr& failure) {
  spdlog::critical("{}", TextOf(failure));
  const absl::Status failed = absl::UnavailableError(kDeviceFailed);
  bool first = false;
  {
    absl::MutexLock lock(&mutex_);
    first = admission_.message() != kDeviceFailed;
    admission_ = failed;
  }
  retries_.clear();
  AbortAll(failed);
  if (first && device_failed_) device_failed_();
}

}  // namespace scalpel::engine
