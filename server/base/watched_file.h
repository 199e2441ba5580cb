// Calls a function whenever a file changes.

#ifndef SCALPEL_SERVER_BASE_WATCHED_FILE_H_
#define SCALPEL_SERVER_BASE_WATCHED_FILE_H_

#include <array>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/time/time.h"

namespace scalpel {

// Watches one file by polling: inotify misses changes behind the symbolic links that Kubernetes
// swaps, and changes on network file systems.
class WatchedFile {
 public:
  // Reads the file, and returns whether that succeeded. `retry`: the file has not changed since the
  // last call, which failed. Must not throw.
  using Read = std::function<bool(bool retry)>;

  // Calls `read` once before returning, and then on a thread of this object after each change: when
  // the path leads to another file, when the file's times, size or mode change, and when it
  // vanishes or reappears. Changes during construction are not missed. While `read` returns false,
  // it is called again after each `interval` even if the file stays as it is, because the cause of
  // the failure may lie elsewhere.
  WatchedFile(std::filesystem::path path, Read read, absl::Duration interval = absl::Seconds(1));
  // Stops watching. Waits for a call of `read` that is in progress.
  ~WatchedFile();
  WatchedFile(const WatchedFile&) = delete;
  WatchedFile& operator=(const WatchedFile&) = delete;

 private:
  // Identifies the state of a file, from its metadata; all zeros if there is no such file.
  using Stamp = std::array<int64_t, 7>;

  static Stamp StampOf(const std::filesystem::path& path);
  // The loop of the thread. `seen`: the stamp at the last read; `done`: whether that succeeded.
  void Watch(Stamp seen, bool done);
  // Waits for the interval. Returns false if the thread must stop.
  bool Pause();

  const std::filesystem::path path_;
  const Read read_;
  const absl::Duration interval_;
  // The standard library's, not Abseil's, because these wait by the monotonic clock: setting the
  // system's clock back must not delay the next poll.
  std::mutex mutex_;
  std::condition_variable woken_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_WATCHED_FILE_H_
