// Three ideas:
//
// - The lock guards the list of jobs and nothing else. Whatever takes time (compiling a variant,
//   looking up clean runs, the pass, waking a reader) is done without it, on a copy of the list, so
//   GetStatus and Submit never wait. A job that is taken off the list meanwhile, because its call
//   left or the server stops, is noticed after the next layer at the latest.
// - Turns are a rotation of the list: a wave serves it from the front, and what was served goes to
//   the back.
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
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/engine/failure.h"
#include "server/engine/fault_points.h"
#include "server/engine/non_finite.h"

namespace scalpel::engine {
namespace {

constexpr char kDraining[] = "the server is shutting down; try another replica";
constexpr char kDeviceFailed[] = "the server's device has failed; try another replica";

// Without a lock, since readers are woken: they may come back with more jobs.
void CloseUnwanted(const std::vector<std::shared_ptr<Job>>& jobs) {
  for (const auto& job : jobs) job->stream().Close(job->stream().StillWanted());
}

// The jobs whose tasks these are, each once.
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

}  // namespace

Scheduler::Scheduler(const model::Gpt2& gpt2, const Limits& limits,
                     std::function<void()> device_failed)
    : gpt2_(gpt2),
      limits_(limits),
      device_failed_(std::move(device_failed)),
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
  const int64_t bytes = job->response_bytes();
  Jobs unwanted;
  const auto close = absl::MakeCleanup([&unwanted] { CloseUnwanted(unwanted); });
  absl::MutexLock lock(&mutex_);
  if (!admission_.ok()) return admission_;
  if (Waiting() >= limits_->max_queue()) unwanted = TakeUnwanted();
  if (Waiting() >= limits_->max_queue()) {
    return Because(
        Reason::kQueueFull,
        Busy(absl::StrCat("the queue is full (", limits_->max_queue(), " requests); try again"),
             kRetryDelay));
  }
  if (buffered_bytes_->load() + bytes > limits_->max_buffered_bytes()) {
    return Because(Reason::kBufferedBytes,
                   Busy(absl::StrCat("responses of ", limits_->max_buffered_bytes(),
                                     " bytes are waiting for their readers; try again"),
                        kRetryDelay));
  }
  buffered_bytes_->fetch_add(bytes);
  job->stream().Hold(std::shared_ptr<const void>(
      nullptr, [total = buffered_bytes_, bytes](const void*) { total->fetch_sub(bytes); }));
  jobs_.push_back({.job = std::move(job)});
  return absl::OkStatus();
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
  for (const Entry& entry : jobs) {  // without the lock: readers are woken
    entry.job->stream().Close(status);
    entry.job->stream().Cancel();
  }
}

Scheduler::Jobs Scheduler::TakeUnwanted() {
  const auto unwanted = std::stable_partition(jobs_.begin(), jobs_.end(), [](const Entry& entry) {
    return entry.job->stream().StillWanted().ok();
  });
  Jobs taken;
  for (auto entry = unwanted; entry != jobs_.end(); ++entry) taken.push_back(std::move(entry->job));
  jobs_.erase(unwanted, jobs_.end());
  return taken;
}

// ---- counts -------------------------------------------------------------------------------------

BaselineCache::Counts Scheduler::cache_counts() const {
  absl::MutexLock lock(&mutex_);
  return cache_counts_;
}

Counts Scheduler::counts() const {
  absl::MutexLock lock(&mutex_);
  Counts counts = counts_;
  counts.queued = Waiting();
  counts.running = static_cast<int64_t>(jobs_.size()) - counts.queued;
  counts.buffered_bytes = buffered_bytes_->load();
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
    Wave wave;
    Jobs unwanted;
    std::deque<std::shared_ptr<Job>> turns;
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
      if (retries_.empty()) {
        for (Entry& entry : jobs_) turns.push_back(entry.job);
        if (!jobs_.empty() && jobs_.front().held) {
          wave.push_back(*std::exchange(jobs_.front().held, std::nullopt));
          std::rotate(turns.begin(), turns.begin() + 1, turns.end());
        }
      }
    }
    CloseUnwanted(unwanted);
    if (!retries_.empty()) {
      wave = NextRetry();
    } else {
      std::optional<Task> held = Fill(turns, wave);
      Turned(turns, wave, std::move(held));
    }
    if (!wave.empty()) return wave;
  }
}

Wave Scheduler::NextRetry() {
  Wave failed = std::move(retries_.front()), wave;
  retries_.pop_front();
  Endings endings;
  for (Task& task : failed) {
    if (!task.job->stream().StillWanted().ok()) continue;
    task.failure =
        FailureOf([&] { Prepare(task, gpt2_.config(), cache_, limits_->max_record_bytes()); });
    if (task.failure != nullptr) {
      endings.emplace_back(task.job, Fail(*task.job, task.failure));
    } else {
      wave.push_back(std::move(task));
    }
  }
  End(endings);
  return wave;
}

std::optional<Task> Scheduler::Fill(std::deque<std::shared_ptr<Job>>& turns, Wave& wave) {
  int64_t tokens = wave.empty() ? 0 : wave.front().tokens;
  size_t idle = 0;  // jobs in a row that had nothing to give
  while (idle < turns.size()) {
    const std::shared_ptr<Job> job = turns.front();
    std::optional<Task> task;
    const std::exception_ptr failure = FailureOf([&] {
      if (!job->stream().StillWanted().ok()) return;
      PassFaultPoint(FaultPoint::kNextTask, job->stream().request_id());
      task = job->NextTask();
      if (task) Prepare(*task, gpt2_.config(), cache_, limits_->max_record_bytes());
    });
    if (failure != nullptr) {
      turns.pop_front();
      std::erase_if(wave, [&job](const Task& other) { return other.job == job; });
      End({{job, Fail(*job, failure)}});
      continue;
    }
    if (task && !wave.empty() && tokens + task->tokens > limits_->wave_tokens()) return task;
    std::rotate(turns.begin(), turns.begin() + 1, turns.end());
    ++idle;
    if (!task) continue;
    idle = 0;
    tokens += task->tokens;
    wave.push_back(*std::move(task));
  }
  return std::nullopt;
}

void Scheduler::Turned(const std::deque<std::shared_ptr<Job>>& turns, const Wave& wave,
                       std::optional<Task> held) {
  const Jobs served = JobsOf(wave);
  absl::MutexLock lock(&mutex_);
  for (Entry& entry : jobs_) {
    entry.started =
        entry.started || std::find(served.begin(), served.end(), entry.job) != served.end();
  }
  if (turns.empty()) return;
  const auto next = std::find_if(jobs_.begin(), jobs_.end(), [&turns](const Entry& entry) {
    return entry.job == turns.front();
  });
  if (next == jobs_.end()) return;  // the call has left, and what is held with it
  next->held = std::move(held);
  std::rotate(jobs_.begin(), next, jobs_.end());
}

void Scheduler::Run(Wave wave) {
  const Jobs jobs = JobsOf(wave);
  Endings endings;
  {
    const absl::Time began = absl::Now();
    WaveCounts counts;
    const auto count = absl::MakeCleanup([&] { Count(counts, absl::Now() - began); });
    const std::exception_ptr shared = FailureOf([&] { counts = RunWave(gpt2_, cache_, wave); });
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
  const auto wanted = [&job] { return job.stream().StillWanted().ok(); };
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
  if (wave.size() == 1) {
    const Task& task = wave.front();
    const std::exception_ptr& failure = task.failure != nullptr ? task.failure : shared;
    if (failure != nullptr) endings->emplace_back(task.job, Fail(*task.job, failure));
    return;
  }
  if (shared != nullptr) {
    spdlog::warn("request={} failed together, and run again in parts: {}", RequestIdsOf(wave),
                 TextOf(shared));
  }
  Wave rest;
  for (Task& task : wave) {
    if (task.failure != nullptr) {
      spdlog::warn("request={} failed in company, and runs again alone: {}",
                   task.job->stream().request_id(), TextOf(task.failure));
      retries_.emplace_back().push_back(std::move(task));
    } else if (shared != nullptr) {
      rest.push_back(std::move(task));
    }
  }
  if (rest.empty()) return;
  const auto middle = rest.begin() + static_cast<int64_t>(rest.size() / 2);
  Wave half(std::make_move_iterator(middle), std::make_move_iterator(rest.end()));
  rest.erase(middle, rest.end());
  retries_.push_front(std::move(half));
  if (!rest.empty()) retries_.push_front(std::move(rest));
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
    std::erase_if(jobs_, [&ended](const Entry& entry) { return ended(entry.job); });
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
