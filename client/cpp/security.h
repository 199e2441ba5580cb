// TLS and authentication.

#ifndef SCALPEL_CLIENT_CPP_SECURITY_H_
#define SCALPEL_CLIENT_CPP_SECURITY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace scalpel::client {

struct Security {
  // From the command line.
  bool tls = false;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string server_name;  // expected in the server's certificate, if not the address
  std::string token_file;
  bool allow_plaintext_token = false;

  // The content of the files, in PEM. An empty `ca` means the system's CAs, and an empty
  // `certificate` that the client presents none.
  std::string ca;
  std::string certificate;
  std::string key;
  std::string token;  // empty: no token is sent
};

// Reads the files into `security`. `environment_token`: the token to use if no token file is named.
// Returns INVALID_ARGUMENT, with a message that names the flag, if a file cannot be read, the token
// is malformed, --cert and --key are not given together, or the token would be sent unencrypted to
// another machine at `server`.
absl::Status ReadSecurity(absl::string_view server, absl::string_view environment_token,
                          Security* security);

// Returns whether an address is on this machine, judging only by its spelling.
bool IsLocal(absl::string_view address);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SECURITY_H_
