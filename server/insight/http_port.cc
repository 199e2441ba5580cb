#include "server/insight/http_port.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/file_descriptor.h"

namespace scalpel::insight {

// What the daemon calls; `self` is the port.
struct Callbacks {
  static MHD_Result Answer(void* self, MHD_Connection* connection, const char* path,
                           const char* method, const char* /*version*/, const char* /*body*/,
                           size_t* /*body_size*/, void** /*state*/) {
    return static_cast<MHD_Result>(static_cast<HttpPort*>(self)->Answer(connection, path, method));
  }
  static void Notify(void* self, MHD_Connection* connection, void** /*state*/,
                     MHD_ConnectionNotificationCode what) {
    HttpPort* const port = static_cast<HttpPort*>(self);
    what == MHD_CONNECTION_NOTIFY_STARTED ? port->Opened(connection) : port->Closed(connection);
  }
};

namespace {

// A connection on which nothing moves for this time is closed.
constexpr unsigned kIdleSeconds = 10;
// How many connections the daemon accepts in a row, before it closes those that had to make room.
constexpr unsigned kAcceptedAtOnce = 16;

absl::Status CannotListen(absl::string_view address, absl::string_view reason) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", reason));
}

// Returns a socket that listens on the first address of the host that can be bound.
absl::StatusOr<FileDescriptor> Listen(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found);
      error != 0) {
    return CannotListen(address, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  int failure = 0;
  for (const addrinfo* next = found; next != nullptr; next = next->ai_next) {
    FileDescriptor fd(socket(next->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1, off = 0;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (next->ai_family == AF_INET6)
      setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd.valid() && bind(fd.get(), next->ai_addr, next->ai_addrlen) == 0 &&
        listen(fd.get(), SOMAXCONN) == 0) {
      return fd;
    }
    failure = errno;
  }
  return CannotListen(address, strerror(failure));
}

// Returns HOST:PORT with the port that the socket is bound to.
std::string BoundAddress(const std::string& address, const FileDescriptor& fd) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size);
  const in_port_t port = bound.ss_family == AF_INET6
                             ? reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port
                             : reinterpret_cast<const sockaddr_in*>(&bound)->sin_port;
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", ntohs(port));
}

// Hands a response to the daemon. One that is handed over before the daemon reads a request's body
// is the last of its connection, and no body is read.
MHD_Result Send(MHD_Connection* connection, unsigned code, const std::string& text,
                const char* header, const std::string& value) {
  MHD_Response* const response = MHD_create_response_from_buffer(
      text.size(), const_cast<char*>(text.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;  // closes the connection
  MHD_add_response_header(response, header, value.c_str());
  const MHD_Result queued = MHD_queue_response(connection, code, response);
  MHD_destroy_response(response);
  return queued;
}

}  // namespace

HttpPort::HttpPort(std::string address, Page page)
    : address_(std::move(address)), page_(std::move(page)) {
  connections_.reserve(kConnectionsMax + 1);
}

HttpPort::~HttpPort() {
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

absl::StatusOr<std::unique_ptr<HttpPort>> HttpPort::Open(const std::string& address, Page page) {
  absl::StatusOr<FileDescriptor> listening = Listen(address);
  if (!listening.ok()) return listening.status();
  std::unique_ptr<HttpPort> port(new HttpPort(BoundAddress(address, *listening), std::move(page)));
  port->daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, /*port=*/0, nullptr, nullptr, &Callbacks::Answer,
      port.get(), MHD_OPTION_LISTEN_SOCKET, listening->get(), MHD_OPTION_CONNECTION_LIMIT,
      kConnectionsMax + kAcceptedAtOnce, MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds,
      MHD_OPTION_NOTIFY_CONNECTION, &Callbacks::Notify, port.get(), MHD_OPTION_END);
  if (port->daemon_ == nullptr) return CannotListen(address, "no thread can be started for it");
  listening->release();  // the daemon's
  return port;
}

void HttpPort::Opened(MHD_Connection* connection) {
  connections_.push_back(connection);
  if (connections_.size() <= kConnectionsMax) return;
  const MHD_ConnectionInfo* const oldest =
      MHD_get_connection_info(connections_.front(), MHD_CONNECTION_INFO_CONNECTION_FD);
  // The daemon sees the end of the connection, and closes it.
  if (oldest != nullptr) shutdown(oldest->connect_fd, SHUT_RDWR);
  connections_.erase(connections_.begin());
}

void HttpPort::Closed(MHD_Connection* connection) {
  const auto found = std::find(connections_.begin(), connections_.end(), connection);
  if (found != connections_.end()) connections_.erase(found);  // else it had to make room
}

int HttpPort::Answer(MHD_Connection* connection, const std::string& path,
                     const std::string& method) {
  if (path != page_.path) {
    return Send(connection, MHD_HTTP_NOT_FOUND, absl::StrCat("see ", page_.path, "\n"),
                MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain");
  }
  if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD)
    return Send(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "", MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  try {
    return Send(connection, MHD_HTTP_OK, page_.read(), MHD_HTTP_HEADER_CONTENT_TYPE,
                page_.content_type);
  } catch (const std::exception&) {  // no memory; the next request may find some
    return MHD_NO;
  }
}

}  // namespace scalpel::insight
