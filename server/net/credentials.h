// TLS: the server's certificate, and the identity of clients that present one.

#ifndef SCALPEL_SERVER_NET_CREDENTIALS_H_
#define SCALPEL_SERVER_NET_CREDENTIALS_H_

#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/server_credentials.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/net/tls_files.h"

namespace scalpel::net {

// Counts reloads of the TLS files since the start.
struct TlsReloads {
  std::atomic<int64_t> ok = 0;  // changes that were put in use
  std::atomic<int64_t> failed =
      0;  // changes that were rejected; the old files' content stays in use
};

// Returns insecure credentials if no file is given. Otherwise returns credentials for TLS 1.2 and
// 1.3 that follow the files: a change is noticed when the next client connects, and a bad change is
// logged and leaves the old certificate in use. With a client CA, clients must present a
// certificate that it signed.
//
// INVALID_ARGUMENT names the offending flag. The credentials and `reloads` must outlive the server
// that uses them.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsFiles& files,
                                                                         TlsReloads* reloads);

// Returns the common name of the client's verified certificate; empty if there is no certificate or
// not exactly one common name. Thread-safe.
std::string CertificateName(const grpc::AuthContext& context);

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_CREDENTIALS_H_
