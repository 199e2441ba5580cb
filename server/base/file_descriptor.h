// A file descriptor with RAII ownership.

#ifndef SCALPEL_SERVER_BASE_FILE_DESCRIPTOR_H_
#define SCALPEL_SERVER_BASE_FILE_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace scalpel {

// Owns a file descriptor and closes it on destruction. Movable, not copyable. Not thread-safe.
class FileDescriptor {
 public:
  // Takes ownership of `fd`. A negative value means that there is no descriptor.
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor() {
    if (valid()) ::close(fd_);
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // Gives up ownership: the caller must close the returned descriptor.
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_FILE_DESCRIPTOR_H_
