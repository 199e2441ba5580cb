// A file descriptor that is closed with its owner.

#ifndef SCALPEL_SERVER_BASE_FILE_DESCRIPTOR_H_
#define SCALPEL_SERVER_BASE_FILE_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace scalpel {

// Movable, not copyable.
class FileDescriptor {
 public:
  // Takes `fd` over; a negative one stands for none.
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
  // Returns the descriptor, which is the caller's to close from then on.
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace scalpel

#endif  // SCALPEL_SERVER_BASE_FILE_DESCRIPTOR_H_
