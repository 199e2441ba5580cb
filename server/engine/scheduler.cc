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

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/wave.h"
#include "server/spec/violations.h"

namespace scalpel::engine {
namespace {

constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);

}  // namespace

Scheduler::Scheduler(const model::Gpt2& gpt2, const Limits& limits)
    : gpt2_(gpt2), limits_(limits), threads_(at::get_num_threads()), thread_([this] { Loop(); }) {}

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
  const int64_t bytes = job.plan->started.cost().response_bytes();
  absl::MutexLock lock(&mutex_);
  if (!admitting_)
    return absl::UnavailableError("the server is shutting down; try another replica");
  if (static_cast<int64_t>(queue_.size()) >= limits_.queue_max) DropUnwanted();
  if (static_cast<int64_t>(queue_.size()) >= limits_.queue_max) {
    return spec::Busy(
        absl::StrCat("the queue is full (", limits_.queue_max, " requests); try again"),
        kRetryDelay);
  }
  if (buffered_bytes_->load() + bytes > limits_.buffered_bytes_max) {
    return spec::Busy(absl::StrCat("responses of ", limits_.buffered_bytes_max,
                                   " bytes are waiting for their readers; try again"),
                      kRetryDelay);
  }
  buffered_bytes_->fetch_add(bytes);
  job.stream->Hold(std::shared_ptr<const void>(
      nullptr, [total = buffered_bytes_, bytes](const void*) { total->fetch_sub(bytes); }));
  job.submitted = absl::Now();
  queue_.push_back(std::move(job));
  return absl::OkStatus();
}

void Scheduler::StopAdmission() {
  absl::MutexLock lock(&mutex_);
  admitting_ = false;
}

bool Scheduler::WaitIdle(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return queue_.empty() && running_ == nullptr;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&idle), timeout);
}

void Scheduler::CancelAll() {
  std::vector<std::shared_ptr<EventStream>> streams;
  {
    absl::MutexLock lock(&mutex_);
    if (running_ != nullptr) streams.push_back(running_);
    for (const Job& job : queue_) streams.push_back(job.stream);
    queue_.clear();
  }
  for (const auto& stream : streams) {  // without the lock: readers are woken
    stream->Close(absl::UnavailableError("the server is shutting down; try another replica"));
    stream->Cancel();
  }
}

void Scheduler::DropUnwanted() {
  const auto unwanted = std::stable_partition(queue_.begin(), queue_.end(),
                                              [](const Job& job) { return StillWanted(job).ok(); });
  for (auto job = unwanted; job != queue_.end(); ++job) job->stream->Close(StillWanted(*job));
  queue_.erase(unwanted, queue_.end());
}

std::optional<Job> Scheduler::Next() {
  absl::MutexLock lock(&mutex_);
  running_ = nullptr;
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !queue_.empty() || stopping_;
  };
  mutex_.Await(absl::Condition(&ready));
  if (stopping_) return std::nullopt;
  Job job = std::move(queue_.front());
  queue_.pop_front();
  running_ = job.stream;
  return job;
}

absl::Status Scheduler::Run(const Job& job) {
  const absl::Status out_of_memory =
      spec::Busy("the device ran out of memory; try again, or ask for less", kRetryDelay);
  std::string what;
  try {
    return RunWave(gpt2_, job);
  } catch (const c10::OutOfMemoryError& error) {
    spdlog::error("request={} out of memory: {}", job.request_id, error.what_without_backtrace());
    return out_of_memory;
  } catch (const std::bad_alloc&) {
    spdlog::error("request={} out of memory", job.request_id);
    return out_of_memory;
  } catch (const c10::Error& error) {
    what = error.what_without_backtrace();
  } catch (const std::exception& error) {
    what = error.what();
  }
  spdlog::error("request={} failed: {}", job.request_id, what);
  return absl::InternalError(absl::StrCat(
      "internal error; the server's log has details under request id ", job.request_id));
}

void Scheduler::Loop() {
  const c10::InferenceMode inference_only;
  at::set_num_threads(threads_);
  while (std::optional<Job> job = Next()) job->stream->Close(Run(*job));
}

}  // namespace scalpel::engine
