#include "server/net/acceptor.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/net/descriptors.h"

namespace scalpel::net {
namespace {

using testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(20);

// A client's connection to 127.0.0.1 at the port that ends `address`, or to none. It comes from a
// port of `from`, if that is given.
FileDescriptor Connect(const std::string& address, const sockaddr_in* from = nullptr) {
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (from != nullptr) {
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(from), sizeof *from), 0);
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port =
      htons(static_cast<uint16_t>(std::atoi(address.substr(address.rfind(':') + 1).c_str())));
  const timeval patience = {20, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const bool connected = connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  return connected ? std::move(fd) : FileDescriptor(-1);
}

// Whether the other side has closed; waits until it does or says something.
bool IsClosed(const FileDescriptor& fd) {
  char byte;
  return recv(fd.get(), &byte, 1, 0) != 1;
}

class AcceptorTest : public testing::Test {
 protected:
  void Listen(const std::string& address, int32_t connections_max) {
    auto acceptor = Acceptor::Listen(address);
    ASSERT_TRUE(acceptor.ok()) << acceptor.status();
    acceptor_ = *std::move(acceptor);
    acceptor_->Start(connections_max, [this](int fd) { Take(fd); });
  }

  // Greets the client and keeps the connection.
  void Take(int fd) {
    EXPECT_EQ(send(fd, "x", 1, MSG_NOSIGNAL), 1);
    absl::MutexLock lock(&mutex_);
    taken_.emplace_back(fd);
  }

  void WaitForTaken(size_t count) {
    const auto enough = [&]() { return taken_.size() >= count; };
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), kPatience));
  }

  void CloseTaken() {
    absl::MutexLock lock(&mutex_);
    taken_.clear();
  }

  absl::Mutex mutex_;
  std::vector<FileDescriptor> taken_;
  std::unique_ptr<Acceptor> acceptor_;  // stopped first
};

TEST_F(AcceptorTest, HandsConnectionsOn) {
  Listen("127.0.0.1:0", 10);
  EXPECT_THAT(acceptor_->address(), testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  const FileDescriptor one = Connect(acceptor_->address()), two = Connect(acceptor_->address());
  EXPECT_FALSE(IsClosed(one));
  EXPECT_FALSE(IsClosed(two));
  WaitForTaken(2);
  EXPECT_EQ(acceptor_->open(), 2);
  EXPECT_EQ(acceptor_->refused(), 0);
  EXPECT_NE(fcntl(taken_[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(taken_[0].get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(AcceptorTest, RefusesMoreThanTheLimitUntilSomeAreClosed) {
  Listen("127.0.0.1:0", 2);
  for (int round = 0; round < 3; ++round) {
    const FileDescriptor one = Connect(acceptor_->address());
    EXPECT_FALSE(IsClosed(one)) << round;
    const FileDescriptor two = Connect(acceptor_->address());
    EXPECT_FALSE(IsClosed(two)) << round;
    const FileDescriptor three = Connect(acceptor_->address());
    EXPECT_TRUE(IsClosed(three)) << round;
    EXPECT_EQ(acceptor_->open(), 2);
    EXPECT_EQ(acceptor_->refused(), round + 1);
    WaitForTaken(2);
    CloseTaken();
    EXPECT_EQ(acceptor_->open(), 0);
    absl::SleepFor(absl::Milliseconds(20));  // it does not look for room at each refusal
  }
}

TEST_F(AcceptorTest, RecoversFromRunningOutOfDescriptors) {
  Listen("127.0.0.1:0", 10);
  const FileDescriptor before = Connect(acceptor_->address());
  EXPECT_FALSE(IsClosed(before));
  FileDescriptor late(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none = limit;
  none.rlim_cur = 3;  // standard input, output and error, which are open
  sockaddr_in to{};
  socklen_t size = sizeof to;
  ASSERT_EQ(getpeername(before.get(), reinterpret_cast<sockaddr*>(&to), &size), 0);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_EQ(connect(late.get(), reinterpret_cast<sockaddr*>(&to), size), 0);
  absl::SleepFor(absl::Milliseconds(250));  // some attempts
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_FALSE(IsClosed(late));
  WaitForTaken(2);
  EXPECT_EQ(acceptor_->open(), 2);
}

TEST_F(AcceptorTest, StopRefusesNewConnectionsAndKeepsOpenOnes) {
  Listen("127.0.0.1:0", 10);
  const FileDescriptor before = Connect(acceptor_->address());
  EXPECT_FALSE(IsClosed(before));
  WaitForTaken(1);
  acceptor_->Stop();
  EXPECT_FALSE(Connect(acceptor_->address()).valid());
  acceptor_->Stop();
  EXPECT_EQ(acceptor_->open(), 1);
}

TEST_F(AcceptorTest, HangsUpOnlyOnTheGivenAddress) {
  Listen("127.0.0.1:0", 10);
  const FileDescriptor named = Connect(acceptor_->address());
  sockaddr_in from{};
  socklen_t size = sizeof from;
  ASSERT_EQ(getsockname(named.get(), reinterpret_cast<sockaddr*>(&from), &size), 0);
  const std::string address = absl::StrCat("127.0.0.1:", ntohs(from.sin_port));
  from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  const FileDescriptor other = Connect(acceptor_->address(), &from);
  EXPECT_FALSE(IsClosed(named));
  EXPECT_FALSE(IsClosed(other));
  WaitForTaken(2);
  acceptor_->HangUp({address});
  EXPECT_TRUE(IsClosed(named));
  EXPECT_EQ(send(taken_[1].get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_FALSE(IsClosed(other));
}

TEST_F(AcceptorTest, StopsWithoutHavingStarted) {
  auto acceptor = Acceptor::Listen("127.0.0.1:0");
  ASSERT_TRUE(acceptor.ok());
  acceptor->reset();
}

TEST_F(AcceptorTest, WildcardAddressAcceptsIpv4AndIpv6) {
  auto probe = Acceptor::Listen("[::1]:0");
  if (!probe.ok()) GTEST_SKIP() << "this machine has no IPv6: " << probe.status();
  Listen("[::]:0", 10);
  EXPECT_THAT(acceptor_->address(), testing::StartsWith("[::]:"));
  EXPECT_FALSE(IsClosed(Connect(acceptor_->address())));
}

TEST_F(AcceptorTest, HostNameMayResolveToSeveralAddresses) {
  Listen("localhost:0", 10);
  EXPECT_FALSE(IsClosed(Connect(acceptor_->address())));
}

TEST_F(AcceptorTest, SaysWhyItCannotListen) {
  const auto problem = [](const std::string& address) {
    return std::string(Acceptor::Listen(address).status().message());
  };
  Listen("127.0.0.1:0", 10);
  EXPECT_EQ(problem(acceptor_->address()),
            "cannot listen on " + acceptor_->address() + ": Address already in use");
  EXPECT_THAT(problem("192.0.2.1:0"), HasSubstr("192.0.2.1"));
  EXPECT_THAT(problem("no-such-host.invalid:0"), HasSubstr("no-such-host"));
}

TEST_F(AcceptorTest, TakesLocalConnections) {
  const std::string name = "scalpel-test-" + std::to_string(getpid());
  auto acceptor = Acceptor::ListenLocally(name);
  ASSERT_TRUE(acceptor.ok()) << acceptor.status();
  acceptor_ = *std::move(acceptor);
  acceptor_->Start(1, [this](int fd) { Take(fd); });
  EXPECT_FALSE(Acceptor::ListenLocally(name).ok());
  EXPECT_FALSE(Acceptor::ListenLocally(std::string(200, 'x')).ok());
  const FileDescriptor client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  name.copy(to.sun_path + 1, name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(connect(client.get(), reinterpret_cast<sockaddr*>(&to), size), 0);
  EXPECT_FALSE(IsClosed(client));
}

TEST(OpenSockets, DetectsAReusedDescriptorNumber) {
  OpenSockets sockets;
  FileDescriptor first(socket(AF_UNIX, SOCK_STREAM, 0));
  const int number = first.get();
  sockets.Add(number);
  EXPECT_EQ(sockets.Count(), 1);
  first = FileDescriptor(-1);
  const FileDescriptor second(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(second.get(), number);
  EXPECT_EQ(sockets.Count(), 0);
}

TEST(ConnectionsAllowed, LeavesDescriptorsForOtherFiles) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(ConnectionsAllowed(3), 3);
  rlimit raised{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &raised), 0);
  EXPECT_EQ(raised.rlim_cur, limit.rlim_max);
  if (limit.rlim_max < INT32_MAX / 2) {
    const int32_t allowed = ConnectionsAllowed(INT32_MAX);
    EXPECT_LT(allowed, static_cast<int64_t>(limit.rlim_max) - 64);
    EXPECT_GE(allowed, 1);
  }
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

}  // namespace
}  // namespace scalpel::net
