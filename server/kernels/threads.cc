#include "server/kernels/threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

namespace scalpel::kernels {
namespace {

constexpr auto kSpin = std::chrono::microseconds(30);  // before a waiting thread sleeps
constexpr int kPausesBetweenLooks = 32;                // between two readings of the clock

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `word` is no longer `old`: spins for kSpin, then sleeps.
void WaitWhile(const std::atomic<uint32_t>& word, uint32_t old) {
  const auto asleep = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < kPausesBetweenLooks; ++i) {
      if (word.load(std::memory_order_acquire) != old) return;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < asleep);
  while (word.load(std::memory_order_acquire) == old) word.wait(old, std::memory_order_acquire);
}

class Pool {
 public:
  ~Pool() { Resize(1); }

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  void Resize(int threads) {
    const std::scoped_lock lock(busy_);
    stopping_ = true;
    Announce();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
    const uint32_t seen = job_.load();
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, seen] { Work(seen); });
  }

  void Run(int64_t count, int64_t piece, absl::FunctionRef<void(int64_t, int64_t)> body) {
    piece = std::max<int64_t>(1, piece);
    std::unique_lock lock(busy_, std::defer_lock);
    if (inside_ || workers_.empty() || count <= piece || !lock.try_lock()) {
      if (count > 0) body(0, count);
      return;
    }
    inside_ = true;
    body_ = &body;
    count_ = count;
    piece_ = piece;
    next_.store(0, std::memory_order_relaxed);
    working_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
    Announce();
    TakePieces();
    for (uint32_t left; (left = working_.load(std::memory_order_acquire)) != 0;)
      WaitWhile(working_, left);
    inside_ = false;
  }

 private:
  void Announce() {
    job_.fetch_add(1, std::memory_order_release);
    job_.notify_all();
  }

  void TakePieces() {
    for (int64_t begin; (begin = next_.fetch_add(piece_, std::memory_order_relaxed)) < count_;)
      (*body_)(begin, std::min(begin + piece_, count_));
  }

  void Work(uint32_t seen) {
    inside_ = true;
    while (true) {
      WaitWhile(job_, seen);
      ++seen;  // a job ends only after every worker has taken part, so none can be missed
      if (stopping_) return;
      TakePieces();
      if (working_.fetch_sub(1, std::memory_order_release) == 1) working_.notify_one();
    }
  }

  static inline thread_local bool inside_ = false;  // this thread is running a job

  std::mutex busy_;  // held by the thread whose job is running, or by Resize
  std::vector<std::thread> workers_;
  std::atomic<uint32_t> job_ = 0;  // number of jobs announced so far

  // The job that was announced last. Written before job_, read by the workers after it.
  bool stopping_ = false;
  const absl::FunctionRef<void(int64_t, int64_t)>* body_ = nullptr;
  int64_t count_ = 0, piece_ = 0;
  // On cache lines of their own, since all threads write to them.
  alignas(64) std::atomic<int64_t> next_ = 0;      // first element that no thread has taken
  alignas(64) std::atomic<uint32_t> working_ = 0;  // workers that are not done
};

Pool& ThePool() {
  static Pool pool;
  return pool;
}

}  // namespace

void SetThreads(int threads) { ThePool().Resize(std::max(1, threads)); }

int Threads() { return ThePool().size(); }

void ParallelFor(int64_t count, int64_t piece,
                 absl::FunctionRef<void(int64_t begin, int64_t end)> body) {
  ThePool().Run(count, piece, body);
}

}  // namespace scalpel::kernels
