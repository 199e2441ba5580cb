// The files of TLS, read and checked before gRPC sees them.

#ifndef SCALPEL_SERVER_NET_TLS_FILES_H_
#define SCALPEL_SERVER_NET_TLS_FILES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace scalpel::net {

// Paths of PEM files; empty: not given.
struct TlsFiles {
  std::string cert;       // --tls-cert: the server's own certificate, then those up to the root's
  std::string key;        // --tls-key: of the server's own
  std::string client_ca;  // --tls-client-ca: who signs the certificates that clients must show

  bool any() const { return !cert.empty() || !key.empty() || !client_ca.empty(); }
};

// What the files hold.
struct TlsMaterial {
  std::string cert;
  std::string key;
  std::string client_ca;

  bool operator==(const TlsMaterial&) const = default;
};

// Reads the files as they are. INVALID_ARGUMENT names the flag: a file cannot be read, or one is
// given without those it needs.
absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files);

// Whether a server can be run with it. INVALID_ARGUMENT names the flag: no certificate or key in
// PEM form, a key of another certificate, one that OpenSSL finds too weak.
absl::Status CheckTlsMaterial(const TlsMaterial& material);

// What should be known though a server can be run with it: certificates that are out of date.
std::vector<std::string> TlsWarnings(const TlsMaterial& material);

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_TLS_FILES_H_
