#include "server/base/watched_file.h"

#include <sys/stat.h>

#include <utility>

namespace scalpel {

WatchedFile::WatchedFile(std::filesystem::path path, Read read, absl::Duration interval)
    : path_(std::move(path)), read_(std::move(read)), interval_(interval) {
  // Taken before the read, so that a change in between causes another read.
  const Stamp seen = StampOf(path_);
  const bool done = read_(/*retry=*/false);
  thread_ = std::thread([this, seen, done] { Watch(seen, done); });
}

WatchedFile::~WatchedFile() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  woken_.notify_all();
  thread_.join();
}

WatchedFile::Stamp WatchedFile::StampOf(const std::filesystem::path& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return {};
  // The status change time (ctime) reveals a changed mode, and a replacement by a file with an
  // older modification time.
  return {static_cast<int64_t>(info.st_dev),          static_cast<int64_t>(info.st_ino),
          static_cast<int64_t>(info.st_size),         static_cast<int64_t>(info.st_mtim.tv_sec),
          static_cast<int64_t>(info.st_mtim.tv_nsec), static_cast<int64_t>(info.st_ctim.tv_sec),
          static_cast<int64_t>(info.st_ctim.tv_nsec)};
}

void WatchedFile::Watch(Stamp seen, bool done) {
  while (Pause()) {
    const Stamp now = StampOf(path_);
    if (done && now == seen) continue;
    done = read_(/*retry=*/now == seen);
    seen = now;
  }
}

bool WatchedFile::Pause() {
  std::unique_lock lock(mutex_);
  return !woken_.wait_for(lock, absl::ToChronoNanoseconds(interval_), [this] { return stopping_; });
}

}  // namespace scalpel
