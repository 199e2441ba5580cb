#include "server/access/token_file.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/file_descriptor.h"
#include "server/base/utf8.h"

namespace scalpel::access {
namespace {

namespace fs = std::filesystem;

absl::Status CheckFile(int fd) {
  struct stat info;
  if (fd < 0 || ::fstat(fd, &info) != 0) return absl::ErrnoToStatus(errno, "cannot be opened");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("not a regular file");
  if ((info.st_mode & S_IWOTH) != 0) {
    return absl::PermissionDeniedError(
        "every user may write it, and so could add tokens; remove that permission: chmod o-w");
  }
  return absl::OkStatus();
}

// Reads the file, up to one byte more than it may have, so that the caller notices a longer one.
absl::StatusOr<std::string> ReadBytes(const fs::path& path) {
  // O_NONBLOCK keeps the opening of a FIFO from hanging. It has no effect on a regular file.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (absl::Status status = CheckFile(file.get()); !status.ok()) return status;
  std::string bytes(kTokenFileBytesMax + 1, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, "cannot be read");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

absl::StatusOr<TokenList> ReadTokens(const fs::path& path) {
  absl::StatusOr<std::string> bytes = ReadBytes(path);
  absl::StatusOr<TokenList> tokens =
      bytes.ok() ? TokenList::Parse(*bytes) : absl::StatusOr<TokenList>(bytes.status());
  if (tokens.ok()) return tokens;
  return absl::Status(tokens.status().code(),
                      absl::StrCat(path.string(), ": ", tokens.status().message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(const fs::path& path,
                                                           absl::Duration interval) {
  std::unique_ptr<TokenFile> file(new TokenFile(path, interval));
  {
    absl::MutexLock lock(&file->mutex_);
    if (!file->first_.ok()) return file->first_;
  }
  return file;
}

TokenFile::TokenFile(const fs::path& path, absl::Duration interval)
    : path_(path),
      watched_(
          path, [this](bool retry) { return Read(retry); }, interval) {}

std::shared_ptr<const TokenList> TokenFile::tokens() const {
  absl::MutexLock lock(&mutex_);
  return tokens_;
}

TokenFile::Counts TokenFile::counts() const {
  absl::MutexLock lock(&mutex_);
  return counts_;
}

bool TokenFile::Read(bool retry) {
  absl::StatusOr<TokenList> read = ReadTokens(path_);
  absl::MutexLock lock(&mutex_);
  const bool is_first = tokens_ == nullptr;
  if (is_first) first_ = read.status();
  if (read.ok()) {
    tokens_ = std::make_shared<const TokenList>(*std::move(read));
    if (is_first) return true;
    ++counts_.reloads;
    spdlog::info("tokens: the file has changed; {} tokens are in use", tokens_->entries().size());
  } else if (!is_first && (!retry || read.status().message() != told_)) {
    told_ = std::string(read.status().message());
    ++counts_.failures;
    spdlog::error("tokens: the changed file is not used, the old tokens stay: {}", OneLine(told_));
  }
  return read.ok();
}

}  // namespace scalpel::access
