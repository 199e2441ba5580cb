// An HTTP port that answers one path with text.

#ifndef SCALPEL_SERVER_INSIGHT_HTTP_PORT_H_
#define SCALPEL_SERVER_INSIGHT_HTTP_PORT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

struct MHD_Connection;
struct MHD_Daemon;

namespace scalpel::insight {

// Serves until it is destroyed. One thread waits for all connections, so that a client which sends
// half a request, or does not read its answer, delays no other. Each connection takes one request.
class HttpPort {
 public:
  struct Page {
    std::string path;                   // such as `/metrics`
    std::string content_type;           // of the answer
    std::function<std::string()> read;  // the answer; called on the port's thread at each GET
  };

  // Open connections; one more takes the place of the oldest.
  static constexpr int kConnectionsMax = 32;

  // Listens on `address`, HOST:PORT (port 0: any free port). UNAVAILABLE: the address cannot be
  // resolved or bound.
  static absl::StatusOr<std::unique_ptr<HttpPort>> Open(const std::string& address, Page page);
  ~HttpPort();

  // Returns HOST:PORT with the bound port.
  const std::string& address() const { return address_; }

 private:
  HttpPort(std::string address, Page page);

  // Called by the daemon, on its thread.
  void Opened(MHD_Connection* connection);
  void Closed(MHD_Connection* connection);
  // Returns an MHD_Result.
  int Answer(MHD_Connection* connection, const std::string& path, const std::string& method);

  friend struct Callbacks;

  const std::string address_;
  const Page page_;
  std::vector<MHD_Connection*> connections_;  // open ones, the oldest first; never reallocated
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace scalpel::insight

#endif  // SCALPEL_SERVER_INSIGHT_HTTP_PORT_H_
