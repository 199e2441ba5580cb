#include "server/engine/scheduler.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "server/base/errors.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/run_work.h"
#include "server/engine/sweep_work.h"

namespace scalpel::engine {
namespace {

constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
constexpr char kDraining[] = "the server is shutting down; try another replica";
constexpr char kDeviceFailed[] = "the server's device has failed; try another replica";

// Without a lock, since readers are woken: they may come back with more work.
void CloseUnwanted(const std::vector<std::shared_ptr<Work>>& works) {
  for (const std::shared_ptr<Work>& work : works) work->Close(work->StillWanted());
}

}  // namespace

Scheduler::Scheduler(const model::Gpt2& gpt2, const Limits& limits,
                     std::function<void()> device_failed)
    : gpt2_(gpt2),
      limits_(limits),
      device_failed_(std::move(device_failed)),
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

absl::Status Scheduler::Submit(Job job) {
  const std::shared_ptr<EventStream> stream = job.stream;
  job.submitted = absl::Now();
  if (job.sweep != nullptr) {
    const int64_t bytes = job.sweep->started().cost().response_bytes();
    return Submit(std::make_shared<SweepWork>(std::move(job)), *stream, bytes);
  }
  const int64_t bytes = job.plan->started.cost().response_bytes();
  return Submit(std::make_shared<RunWork>(std::move(job)), *stream, bytes);
}

absl::Status Scheduler::Submit(std::shared_ptr<Work> work, EventStream& stream,
                               int64_t response_bytes) {
  std::vector<std::shared_ptr<Work>> unwanted;
  const auto close = absl::MakeCleanup([&unwanted] { CloseUnwanted(unwanted); });
  absl::MutexLock lock(&mutex_);
  if (!admission_.ok()) return admission_;
  if (Waiting() >= limits_.queue_max) unwanted = TakeUnwanted();
  if (Waiting() >= limits_.queue_max) {
    return Because(Reason::kQueueFull, Busy(absl::StrCat("the queue is full (", limits_.queue_max,
                                                         " requests); try again"),
                                            kRetryDelay));
  }
  if (buffered_bytes_->load() + response_bytes > limits_.buffered_bytes_max) {
    return Because(Reason::kBufferedBytes,
                   Busy(absl::StrCat("responses of ", limits_.buffered_bytes_max,
                                     " bytes are waiting for their readers; try again"),
                        kRetryDelay));
  }
  buffered_bytes_->fetch_add(response_bytes);
  stream.Hold(
      std::shared_ptr<const void>(nullptr, [total = buffered_bytes_, response_bytes](const void*) {
        total->fetch_sub(response_bytes);
      }));
  works_.push_back({std::move(work), /*started=*/false, std::nullopt});
  return absl::OkStatus();
}

void Scheduler::StopAdmission() {
  absl::MutexLock lock(&mutex_);
  admission_.Update(absl::UnavailableError(kDraining));
}

bool Scheduler::WaitIdle(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return works_.empty() && !running_;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&idle), timeout);
}

void Scheduler::CancelAll() { AbortAll(absl::UnavailableError(kDraining)); }

void Scheduler::AbortAll(const absl::Status& status) {
  std::deque<Live> works;
  {
    absl::MutexLock lock(&mutex_);
    works.swap(works_);
  }
  for (const Live& live : works) live.work->Abort(status);  // without the lock: readers are woken
}

void Scheduler::FailDevice() {
  const absl::Status failed = absl::UnavailableError(kDeviceFailed);
  bool first = false;
  {
    absl::MutexLock lock(&mutex_);
    first = admission_.message() != kDeviceFailed;
    admission_ = failed;
  }
  AbortAll(failed);
  if (first && device_failed_) device_failed_();
}

BaselineCache::Counts Scheduler::cache_counts() const {
  absl::MutexLock lock(&mutex_);
  return cache_counts_;
}

Counts Scheduler::counts() const {
  absl::MutexLock lock(&mutex_);
  Counts counts = counts_;
  counts.queued = Waiting();
  counts.running = static_cast<int64_t>(works_.size()) - counts.queued;
  counts.buffered_bytes = buffered_bytes_->load();
  return counts;
}

void Scheduler::Count(const WaveCounts& wave, absl::Duration busy, const BaselineCache& cache) {
  absl::MutexLock lock(&mutex_);
  ++counts_.waves;
  counts_.done += wave;
  counts_.busy += busy;
  cache_counts_ = cache.counts();
}

int64_t Scheduler::Waiting() const {
  return std::count_if(works_.begin(), works_.end(),
                       [](const Live& live) { return !live.started; });
}

std::vector<std::shared_ptr<Work>> Scheduler::TakeUnwanted() {
  const auto unwanted = std::stable_partition(
      works_.begin(), works_.end(), [](const Live& live) { return live.work->StillWanted().ok(); });
  std::vector<std::shared_ptr<Work>> taken;
  for (auto live = unwanted; live != works_.end(); ++live) taken.push_back(std::move(live->work));
  works_.erase(unwanted, works_.end());
  return taken;
}

std::vector<Member> Scheduler::NextWave(BaselineCache& cache) {
  while (true) {
    std::vector<Member> members;
    std::vector<std::shared_ptr<Work>> unwanted;
    {
      absl::MutexLock lock(&mutex_);
      running_ = false;
      const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return !works_.empty() || stopping_;
      };
      mutex_.Await(absl::Condition(&ready));
      if (stopping_) return {};
      unwanted = TakeUnwanted();
      members = FillWave(cache);
      running_ = !members.empty() || !unwanted.empty();
    }
    CloseUnwanted(unwanted);
    if (!members.empty()) return members;
  }
}

std::vector<Member> Scheduler::FillWave(BaselineCache& cache) {
  std::vector<Member> members;
  int64_t tokens = 0;
  size_t idle = 0;  // works in a row that had nothing to give
  while (idle < works_.size()) {
    Live& live = works_.front();
    if (!live.held) {
      if (std::unique_ptr<Task> task = live.work->Next())
        live.held =
            MakeMember(live.work, std::move(task), gpt2_.config(), cache, limits_.record_bytes_max);
    }
    if (live.held) {
      const bool fits = members.empty() || tokens + live.held->tokens <= limits_.wave_tokens_max;
      if (!fits) break;  // its turn comes first in the next wave
      tokens += live.held->tokens;
      members.push_back(*std::move(live.held));
      live.held.reset();
      live.started = true;
      idle = 0;
    } else {
      ++idle;
    }
    works_.push_back(std::move(live));
    works_.pop_front();
  }
  return members;
}

void Scheduler::Settle(const std::vector<Member>& members, const absl::Status& failure) {
  std::vector<std::pair<std::shared_ptr<Work>, absl::Status>> over;
  for (const Member& member : members) {
    const absl::Status status = failure.ok() ? member.work->StillWanted() : failure;
    const bool known = std::any_of(over.begin(), over.end(),
                                   [&](const auto& entry) { return entry.first == member.work; });
    if (!known && (member.work->Finished() || !status.ok()))
      over.emplace_back(member.work, member.work->Finished() ? absl::OkStatus() : status);
  }
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [work, status] : over) {
      const auto live = std::find_if(works_.begin(), works_.end(),
                                     [&work = work](const Live& l) { return l.work == work; });
      if (live != works_.end()) works_.erase(live);
    }
  }
  for (const auto& [work, status] : over) work->Close(status);
}

absl::Status Scheduler::Run(BaselineCache& cache, std::vector<Member>& members) {
  const absl::Status out_of_memory =
      Because(Reason::kOutOfMemory,
              Busy("the device ran out of memory; try again, or ask for less", kRetryDelay));
  std::vector<std::string> ids;
  for (const Member& member : members) ids.push_back(member.work->request_id());
  const std::string who = absl::StrJoin(ids, ",");
  std::string what;
  const absl::Time began = absl::Now();
  WaveCounts counts;
  const auto count = absl::MakeCleanup([&] { Count(counts, absl::Now() - began, cache); });
  try {
    counts = RunWave(gpt2_, cache, members);
    return absl::OkStatus();
  } catch (const c10::OutOfMemoryError& error) {
    spdlog::error("request={} out of memory: {}", who, error.what_without_backtrace());
    return out_of_memory;
  } catch (const std::bad_alloc&) {
    spdlog::error("request={} out of memory", who);
    return out_of_memory;
  } catch (const c10::AcceleratorError& error) {
    spdlog::critical("request={} the device failed: {}", who, error.what_without_backtrace());
    FailDevice();
    return absl::UnavailableError(kDeviceFailed);
  } catch (const c10::Error& error) {
    what = error.what_without_backtrace();
  } catch (const std::exception& error) {
    what = error.what();
  }
  spdlog::error("request={} failed: {}", who, what);
  return absl::InternalError(
      absl::StrCat("internal error; the server's log has details under request id ", ids.front()));
}

void Scheduler::Loop() {
  const c10::InferenceMode inference_only;
  at::set_num_threads(1);  // libtorch's own threads would only stand in the way of the kernels'
  BaselineCache cache(limits_.baseline_cache_bytes_max,
                      static_cast<int32_t>(gpt2_.config().n_layer));
  while (true) {
    std::vector<Member> members = NextWave(cache);
    if (members.empty()) return;
    Settle(members, Run(cache, members));
  }  // what the wave held is freed before the next is waited for
}

}  // namespace scalpel::engine
