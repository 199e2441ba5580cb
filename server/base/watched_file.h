// Notices that a file has changed.

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

// Polls the file, because inotify sees no change behind the symbolic links that Kubernetes swaps,
// nor on network file systems.
class WatchedFile {
 public:
  // Calls `read` once from here, and then from a thread of its own after each change: of what the
  // path leads to, the file's time, size or mode, and when it vanishes or comes back. No change
  // between the two is missed. While `read` returns false it is called again after each interval,
  // as a `retry`, since what was in its way need not be the file. It does not throw.
  using Read = std::function<bool(bool retry)>;
  WatchedFile(std::filesystem::path path, Read read, absl::Duration interval = absl::Seconds(1));
  // Stops at once, but waits for a `read` under way.
  ~WatchedFile();
  WatchedFile(const WatchedFile&) = delete;
  WatchedFile& operator=(const WatchedFile&) = delete;

 private:
  using Stamp = std::array<int64_t, 7>;  // differs when the file does; all zeros: no such file

  static Stamp StampOf(const std::filesystem::path& path);
  void Watch(Stamp seen, bool done);
  // False: stop.
  bool Pause();

  const std::filesystem::path path_;
  const Read read_;
  const absl::Duration interval_;
  // Of the standard library, whose waits go by a clock that nobody sets: a step back of the
  // system's must not put off a reading.
  std::mutex mutex_;
  std::condition_variable woken_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_WATCHED_FILE_H_
