// Makes certificates and keys for tests.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_IDENTITY_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_IDENTITY_H_

#include <string>

namespace scalpel::test {

// A certificate and its private key, both PEM.
struct Identity {
  std::string cert;
  std::string key;
};

// Makes a self-signed certificate of an authority.
Identity MakeAuthority(const std::string& name);

// Makes a certificate for a server on loopback or a client, valid for `days` from yesterday, signed
// by `authority`.
Identity MakeIdentity(const std::string& name, const Identity& authority, int days = 2);

// Writes `bytes` to a temporary file, which is replaced if it exists, and returns its path.
std::string WriteFile(const std::string& name, const std::string& bytes);

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_IDENTITY_H_
