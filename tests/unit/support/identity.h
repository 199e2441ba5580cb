// Certificates and keys, made on the spot.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_IDENTITY_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_IDENTITY_H_

#include <string>

namespace scalpel::test {

// In PEM form.
struct Identity {
  std::string cert;
  std::string key;
};

// An authority's, signed by itself.
Identity MakeAuthority(const std::string& name);

// Of a server on loopback or a client, valid from yesterday for `days`; signed by `authority`.
Identity MakeIdentity(const std::string& name, const Identity& authority, int days = 2);

// The path of a new file with these bytes, or of the same file with new bytes.
std::string WriteFile(const std::string& name, const std::string& bytes);

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_IDENTITY_H_
