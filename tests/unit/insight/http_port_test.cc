// The HTTP port, and clients that mean it no good.

#include "server/insight/http_port.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/unit/insight/http_client.h"

namespace scalpel::insight {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kRequest[] = "GET /page HTTP/1.1\r\nHost: here\r\n\r\n";

std::unique_ptr<HttpPort> Port(std::function<std::string()> read = [] { return "text\n"; }) {
  auto port = HttpPort::Open(
      "127.0.0.1:0", {.path = "/page", .content_type = "text/odd", .read = std::move(read)});
  EXPECT_TRUE(port.ok()) << port.status();
  return *std::move(port);
}

void ExpectAnswersWithin(const HttpPort& port, absl::Duration limit) {
  const absl::Time begin = absl::Now();
  EXPECT_THAT(Ask(port.address(), "GET /page"), EndsWith("\r\n\r\ntext\n"));
  EXPECT_LT(absl::Now() - begin, limit);
}

TEST(HttpPort, AnswersItsPage) {
  const auto port = Port();
  const std::string answer = Ask(port->address(), "GET /page");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/odd\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\ntext\n"));
  EXPECT_THAT(Ask(port->address(), "GET /page?from=here"), EndsWith("\r\n\r\ntext\n"));
}

TEST(HttpPort, AnswersHeadWithoutAText) {
  const std::string answer = Ask(Port()->address(), "HEAD /page");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST(HttpPort, RefusesAnythingElse) {
  const auto port = Port();
  EXPECT_THAT(Ask(port->address(), "GET /"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Ask(port->address(), "GET /pages"), StartsWith("HTTP/1.1 404 "));
  const std::string answer = Ask(port->address(), "DELETE /page");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD\r\n"));
}

TEST(HttpPort, ReadsNoBody) {
  const auto port = Port();
  const FileDescriptor fd = Connect(port->address());
  Send(fd, "POST /page HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000000\r\n\r\nsome");
  EXPECT_THAT(ReadAll(fd), StartsWith("HTTP/1.1 405 "));
}

TEST(HttpPort, RefusesHeadersWithoutEnd) {
  const auto port = Port();
  const FileDescriptor fd = Connect(port->address());
  Send(fd, "GET /page HTTP/1.1\r\nHost: here\r\nX: ");
  Send(fd, std::string(64 << 10, 'x'));
  EXPECT_THAT(ReadAll(fd), testing::Not(HasSubstr("200 OK")));
  ExpectAnswersWithin(*port, absl::Seconds(1));
}

TEST(HttpPort, HalfARequestDelaysNoOther) {
  const auto port = Port();
  std::vector<FileDescriptor> waiting;
  for (int i = 0; i < HttpPort::kConnectionsMax - 1; ++i) {
    waiting.push_back(Connect(port->address()));
    Send(waiting.back(), "GET /pa");
  }
  ExpectAnswersWithin(*port, absl::Seconds(1));
  Send(waiting.front(), absl::string_view(kRequest).substr(7));
  EXPECT_THAT(ReadAll(waiting.front()), EndsWith("\r\n\r\ntext\n"));
}

TEST(HttpPort, TheOldestConnectionMakesRoomForTheNewest) {
  const auto port = Port();
  std::vector<FileDescriptor> waiting;
  for (int i = 0; i < 4 * HttpPort::kConnectionsMax; ++i) {
    waiting.push_back(Connect(port->address()));
    Send(waiting.back(), "GET /pa");
  }
  ExpectAnswersWithin(*port, absl::Seconds(1));
  EXPECT_EQ(ReadAll(waiting.front()), "");
  Send(waiting.back(), absl::string_view(kRequest).substr(7));
  EXPECT_THAT(ReadAll(waiting.back()), EndsWith("\r\n\r\ntext\n"));
}

TEST(HttpPort, AnUnreadAnswerDelaysNoOther) {
  std::atomic<size_t> size = 64 << 20;  // more than sockets hold
  const auto port = Port([&size] { return absl::StrCat(std::string(size, ' '), "text\n"); });
  std::vector<FileDescriptor> deaf;
  for (int i = 0; i < 3; ++i) {
    deaf.push_back(Connect(port->address()));
    Send(deaf.back(), kRequest);
    char first;
    EXPECT_EQ(read(deaf.back().get(), &first, 1), 1);
  }
  size = 0;
  ExpectAnswersWithin(*port, absl::Seconds(1));
}

TEST(HttpPort, APageThatFailsEndsOneConnection) {
  std::atomic<bool> fails = true;
  const auto port = Port([&fails]() -> std::string {
    if (fails) throw std::bad_alloc();
    return "text\n";
  });
  EXPECT_EQ(Ask(port->address(), "GET /page"), "");
  fails = false;
  ExpectAnswersWithin(*port, absl::Seconds(1));
}

TEST(HttpPort, ListensOnIpv6) {
  const auto port = HttpPort::Open(
      "[::]:0", {.path = "/page", .content_type = "a/b", .read = [] { return "text\n"; }});
  if (!port.ok()) GTEST_SKIP() << "no IPv6 here: " << port.status();
  EXPECT_THAT((*port)->address(), StartsWith("[::]:"));
  ExpectAnswersWithin(**port, absl::Seconds(1));  // IPv4 too
}

}  // namespace
}  // namespace scalpel::insight
