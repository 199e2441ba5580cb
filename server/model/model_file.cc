#include "server/model/model_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/json.h"

namespace scalpel::model {
namespace {

namespace fs = std::filesystem;

// Returns whether `path` is below `folder`. Both must be canonical.
bool IsInside(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

// Returns the canonical path of a symbolic link's target, or an error if a link may not lead there.
absl::StatusOr<fs::path> ResolveLink(const fs::path& dir, const std::string& name) {
  std::error_code error;
  const fs::path target = fs::canonical(dir / name, error);
  if (error) {
    // Not NOT_FOUND: the file is meant to exist, but its target does not, as after an interrupted
    // download.
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": a broken symbolic link (", error.message(), ")"));
  }
  const fs::path folder = fs::canonical(dir, error);
  if (error) return absl::NotFoundError(absl::StrCat("model folder: ", error.message()));
  if (IsInside(target, folder)) return target;
  // The HuggingFace cache: snapshots/<revision>/config.json -> ../../blobs/<hash>.
  const fs::path snapshots = folder.parent_path();
  if (snapshots.filename() == "snapshots" && IsInside(target, snapshots.parent_path() / "blobs")) {
    return target;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      name,
      ": a symbolic link to a file outside the model folder; replace it with the file itself"));
}

absl::Status OpenError(const std::string& name, int error) {
  const std::string message = absl::StrCat(name, ": ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::InvalidArgumentError(message);
}

}  // namespace

absl::Status CheckPlainFileName(std::string_view name) {
  const bool has_odd_byte = std::any_of(name.begin(), name.end(), [](unsigned char byte) {
    return byte < 0x20 || byte == 0x7f || byte == '/' || byte == '\\';
  });
  if (name.empty() || name.size() > 255 || name == "." || name == ".." || has_odd_byte) {
    return absl::InvalidArgumentError(absl::StrCat(
        QuotedName(std::string(name)), " is not a plain file name inside the model folder"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelFile> OpenModelFile(const fs::path& dir, std::string_view file_name) {
  if (absl::Status plain = CheckPlainFileName(file_name); !plain.ok()) return plain;
  const std::string name(file_name);
  // O_NONBLOCK keeps open() from hanging on a FIFO. It has no effect on a regular file.
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  int fd = ::open((dir / name).c_str(), kFlags);
  if (fd < 0 && errno == ELOOP) {
    absl::StatusOr<fs::path> target = ResolveLink(dir, name);
    if (!target.ok()) return target.status();
    fd = ::open(target->c_str(), kFlags);
  }
  if (fd < 0) return OpenError(name, errno);
  FileDescriptor owned(fd);
  struct stat info;
  if (::fstat(fd, &info) != 0) return OpenError(name, errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": not a regular file"));
  }
  return ModelFile{std::move(owned), info.st_size};
}

absl::StatusOr<std::string> ReadModelFile(const fs::path& dir, std::string_view file_name,
                                          int64_t bytes_max) {
  const std::string name(file_name);
  absl::StatusOr<ModelFile> file = OpenModelFile(dir, name);
  if (!file.ok()) return file.status();
  if (file->size > bytes_max) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", file->size, " bytes; the limit is ", bytes_max));
  }
  std::string bytes(static_cast<size_t>(file->size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file->fd.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return OpenError(name, errno);
    if (got == 0)
      return absl::InvalidArgumentError(absl::StrCat(name, ": shrank while it was read"));
    done += static_cast<size_t>(got);
  }
  return bytes;
}

}  // namespace scalpel::model
