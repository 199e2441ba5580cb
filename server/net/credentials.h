// Who the server is to its clients, and who they are to it.

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

// Changes of TLS's files since the start.
struct TlsReloads {
  std::atomic<int64_t> ok = 0;      // taken over
  std::atomic<int64_t> failed = 0;  // not, and what was before stayed in use
};

// Insecure ones if no file is given. Else TLS 1.2 or 1.3, with the certificate that the files hold
// at the time of each handshake: what is wrong when they change is logged, and what they held
// before stays. With a client CA, clients must show a certificate that it signed.
//
// INVALID_ARGUMENT names the flag. To be kept for as long as the server that is built with it, and
// so are the `reloads` that it counts.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsFiles& files,
                                                                         TlsReloads* reloads);

// The common name in the verified certificate of the client; empty: it has shown none.
std::string CertificateName(const grpc::AuthContext& context);

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_CREDENTIALS_H_
