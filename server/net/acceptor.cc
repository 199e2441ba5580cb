#include "server/net/acceptor.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace scalpel::net {
namespace {

// The pause after accept failed for lack of descriptors or memory, which may be freed meanwhile.
constexpr int kRetryMs = 100;
// While the limit is reached, how often the open connections are counted: a count costs one system
// call per connection.
constexpr std::chrono::milliseconds kCountInterval(10);
constexpr std::chrono::seconds kWarnInterval(60);
// How many connections are accepted from one socket before the others are polled.
constexpr int kAcceptsAtOnce = 64;
// How long sent data may stay unacknowledged before the connection is closed; the value that gRPC's
// own listener uses.
constexpr int kUnacknowledgedMs = 20'000;

absl::Status CannotListen(absl::string_view address, absl::string_view reason) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", reason));
}

void SetOption(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value);  // every option is optional: ignore errors
}

// Returns a socket that listens on `address`; on failure an invalid one, with the reason in errno.
FileDescriptor ListenAt(const sockaddr* address, socklen_t size) {
  FileDescriptor fd(socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fd;
  if (address->sa_family != AF_UNIX) SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address->sa_family == AF_INET6) SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (bind(fd.get(), address, size) == 0 && listen(fd.get(), SOMAXCONN) == 0) return fd;
  const int error = errno;
  fd = FileDescriptor(-1);
  errno = error;
  return fd;
}

in_port_t* Port(sockaddr* address) {
  return address->sa_family == AF_INET6 ? &reinterpret_cast<sockaddr_in6*>(address)->sin6_port
                                        : &reinterpret_cast<sockaddr_in*>(address)->sin_port;
}

// Returns the port that a socket is bound to, in network byte order.
in_port_t BoundPort(int fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  auto* address = reinterpret_cast<sockaddr*>(&bound);
  return getsockname(fd, address, &size) == 0 ? *Port(address) : in_port_t{0};
}

// Whether accept failed because of the connection at hand (see accept(2)), so that the next one may
// still be accepted.
bool IsConnectionError(int error) {
  return error == ECONNABORTED || error == EINTR || error == EPROTO || error == ENETDOWN ||
         error == ENETUNREACH || error == EHOSTDOWN || error == EHOSTUNREACH ||
         error == ENOPROTOOPT || error == EOPNOTSUPP || error == ENONET || error == EPERM;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Listen(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return CannotListen(address, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  std::vector<FileDescriptor> listening;
  std::set<std::string> seen;
  int failure = 0;
  for (const addrinfo* next = found; next != nullptr; next = next->ai_next) {
    // A host may resolve to several addresses, with duplicates. All of them use the same port.
    if (!listening.empty()) *Port(next->ai_addr) = BoundPort(listening.front().get());
    const char* bytes = reinterpret_cast<const char*>(next->ai_addr);
    if (!seen.emplace(bytes, next->ai_addrlen).second) continue;
    FileDescriptor fd = ListenAt(next->ai_addr, next->ai_addrlen);
    // A name may also resolve to addresses of other machines, so a failure to bind is no error as
    // long as one address succeeds and the port is not in use.
    if (fd.valid()) {
      listening.push_back(std::move(fd));
    } else if (failure == 0 || errno == EADDRINUSE) {
      failure = errno;
    }
  }
  if (listening.empty() || failure == EADDRINUSE) return CannotListen(address, strerror(failure));
  std::string bound =
      absl::StrCat(address.substr(0, colon), ":", ntohs(BoundPort(listening.front().get())));
  return Make(std::move(bound), std::move(listening));
}

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::ListenLocally(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() + 1 > sizeof address.sun_path) return CannotListen(name, "the name is too long");
  name.copy(address.sun_path + 1, name.size());  // a leading zero byte makes the name abstract
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  std::vector<FileDescriptor> listening;
  listening.push_back(ListenAt(reinterpret_cast<const sockaddr*>(&address), size));
  if (!listening.front().valid()) {
    return CannotListen(absl::StrCat("unix-abstract:", name), strerror(errno));
  }
  return Make(name, std::move(listening));
}

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Make(std::string address,
                                                         std::vector<FileDescriptor> listening) {
  FileDescriptor stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid()) return CannotListen(address, strerror(errno));
  return std::unique_ptr<Acceptor>(
      new Acceptor(std::move(address), std::move(stop), std::move(listening)));
}

void Acceptor::Start(int32_t connections_max, Hand hand) {
  connections_max_ = connections_max;
  hand_ = std::move(hand);
  thread_ = std::thread([this] { Run(); });
}

void Acceptor::Stop() {
  eventfd_write(stop_.get(), 1);
  if (thread_.joinable()) thread_.join();
  listening_.clear();
}

void Acceptor::HangUp(const std::set<std::string>& addresses) {
  if (addresses.empty()) return;
  absl::MutexLock lock(&mutex_);
  sockets_.HangUp(addresses);
}

void Acceptor::HangUpAll() {
  absl::MutexLock lock(&mutex_);
  sockets_.HangUpAll();
}

int64_t Acceptor::open() const {
  absl::MutexLock lock(&mutex_);
  return sockets_.Count();
}

void Acceptor::Run() {
  std::vector<pollfd> polled = {{stop_.get(), POLLIN, 0}};
  for (const FileDescriptor& fd : listening_) polled.push_back({fd.get(), POLLIN, 0});
  for (;;) {
    if (poll(polled.data(), polled.size(), -1) < 0) continue;  // interrupted by a signal
    if (polled.front().revents != 0) return;
    const bool taken = std::all_of(polled.begin() + 1, polled.end(), [this](const pollfd& one) {
      return one.revents == 0 || Take(one.fd);
    });
    if (!taken) poll(polled.data(), 1, kRetryMs);  // pauses, but still notices Stop
  }
}

bool Acceptor::Take(int listening) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    FileDescriptor fd(accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
      if (IsConnectionError(errno)) continue;
      const int error = errno;
      if (WarnsNow()) spdlog::error("cannot accept connections for now: {}", strerror(error));
      return false;
    }
    if (!Admit()) continue;
    SetOption(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    SetOption(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, kUnacknowledgedMs);
    {
      absl::MutexLock lock(&mutex_);
      sockets_.Add(fd.get());
    }
    hand_(fd.release());
  }
  return true;
}

bool Acceptor::Admit() {
  const Instant now = std::chrono::steady_clock::now();
  if (!counted_ || now - *counted_ >= kCountInterval) {
    absl::MutexLock lock(&mutex_);
    if (sockets_.CountAtMost() < connections_max_) return true;
    if (sockets_.Count() < connections_max_) return true;
    counted_ = now;
  }
  ++refused_;
  if (WarnsNow()) {
    spdlog::warn(
        "{} connections are open, the most allowed (--max-connections); {} have been "
        "refused",
        connections_max_, refused_.load());
  }
  return false;
}

bool Acceptor::WarnsNow() {
  const Instant now = std::chrono::steady_clock::now();
  if (warned_ && now - *warned_ < kWarnInterval) return false;
  warned_ = now;
  return true;
}

}  // namespace scalpel::net
