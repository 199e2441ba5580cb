// Reads the TLS files and checks them before gRPC uses them. All functions are thread-safe.

#ifndef SCALPEL_SERVER_NET_TLS_FILES_H_
#define SCALPEL_SERVER_NET_TLS_FILES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace scalpel::net {

// Paths of PEM files; an empty path means that the file is not given.
struct TlsFiles {
  std::string cert;       // --tls-cert: the server's certificate, followed by its chain
  std::string key;        // --tls-key: the private key of the server's certificate
  std::string client_ca;  // --tls-client-ca: the CAs that sign clients' certificates

  bool any() const { return !cert.empty() || !key.empty() || !client_ca.empty(); }
};

// The content of the files, in PEM.
struct TlsMaterial {
  std::string cert;
  std::string key;
  std::string client_ca;

  bool operator==(const TlsMaterial&) const = default;
};

// Reads the files without checking their content. INVALID_ARGUMENT, which names the flag: a file
// cannot be read or is longer than 1 MiB, the client CA's file is empty, or a certificate or key is
// missing.
absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files);

// Checks that a server can run with `material`. INVALID_ARGUMENT, which names the flag: there is no
// certificate or key in PEM form, the key belongs to another certificate, or OpenSSL rejects one of
// them, for example as too weak.
absl::Status CheckTlsMaterial(const TlsMaterial& material);

// Returns a warning, which names the flag, for each certificate that has expired or is not valid
// yet. A server can still run with these.
std::vector<std::string> TlsWarnings(const TlsMaterial& material);

}  // namespace scalpel::net

#endif  // SCALPEL_SERVER_NET_TLS_FILES_H_
