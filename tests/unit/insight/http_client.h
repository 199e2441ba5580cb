// A client of an HTTP port on this machine, byte by byte.

#ifndef SCALPEL_TESTS_UNIT_INSIGHT_HTTP_CLIENT_H_
#define SCALPEL_TESTS_UNIT_INSIGHT_HTTP_CLIENT_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/file_descriptor.h"

namespace scalpel::insight {

inline FileDescriptor Connect(absl::string_view address) {
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) << address;
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  return fd;
}

inline void Send(const FileDescriptor& fd, absl::string_view bytes) {
  EXPECT_EQ(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

// All that comes until the other side closes the connection.
inline std::string ReadAll(const FileDescriptor& fd) {
  std::string answer;
  char buffer[4096];
  for (ssize_t count; (count = read(fd.get(), buffer, sizeof(buffer))) > 0;)
    answer.append(buffer, static_cast<size_t>(count));
  return answer;
}

// The answer to `first`, such as `GET /metrics`, headers and all.
inline std::string Ask(absl::string_view address, absl::string_view first) {
  const FileDescriptor fd = Connect(address);
  Send(fd, absl::StrCat(first, " HTTP/1.1\r\nHost: here\r\n\r\n"));
  return ReadAll(fd);
}

}  // namespace scalpel::insight

#endif  // SCALPEL_TESTS_UNIT_INSIGHT_HTTP_CLIENT_H_
