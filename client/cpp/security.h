// Encryption, and who the two sides are.

#ifndef SCALPEL_CLIENT_CPP_SECURITY_H_
#define SCALPEL_CLIENT_CPP_SECURITY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace scalpel::client {

struct Security {
  // As the command line says it.
  bool tls = false;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string server_name;  // in the server's certificate, where the address has another
  std::string token_file;
  bool allow_plaintext_token = false;

  // What the files hold, in PEM; empty: the system's certificates, none of its own.
  std::string ca;
  std::string certificate;
  std::string key;
  std::string token;  // empty: none
};

// Reads the files. `environment_token`: the token where no file is named. An error where a file
// cannot be read, and where the token would leave this machine unencrypted on its way to `server`.
absl::Status ReadSecurity(absl::string_view server, absl::string_view environment_token,
                          Security* security);

// Whether the address is of this machine, by its spelling alone.
bool IsLocal(absl::string_view address);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SECURITY_H_
