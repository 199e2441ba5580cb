#include "client/cpp/security.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <fstream>
#include <sstream>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

// Reads the file at `path`, the value of `flag`; does nothing if `path` is empty.
absl::Status ReadFile(absl::string_view flag, const std::string& path, std::string* contents) {
  if (path.empty()) return absl::OkStatus();
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();  // also fails if the file is empty
  if (!file || !text) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": `", Printable(path), "` is empty or cannot be read"));
  }
  *contents = text.str();
  return absl::OkStatus();
}

// Checks the characters of a token, since metadata cannot carry control characters. The error does
// not quote the token.
absl::Status CheckToken(absl::string_view source, absl::string_view token) {
  if (!token.empty() && absl::c_all_of(token, absl::ascii_isgraph)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(source, " holds no token: that is one word of visible ASCII characters"));
}

// Returns `address` without its port.
absl::string_view HostOf(absl::string_view address) {
  if (absl::ConsumePrefix(&address, "[")) return address.substr(0, address.find(']'));
  return address.substr(0, address.rfind(':'));
}

}  // namespace

bool IsLocal(absl::string_view address) {
  if (absl::StartsWith(address, "unix:") || absl::StartsWith(address, "unix-abstract:")) {
    return true;
  }
  for (const absl::string_view scheme : {"dns:", "ipv4:", "ipv6:"}) {
    if (!absl::ConsumePrefix(&address, scheme)) continue;
    absl::ConsumePrefix(&address, "///");
    break;
  }
  const std::string host(HostOf(address));
  if (in_addr v4; inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  if (in6_addr v6; inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

absl::Status ReadSecurity(absl::string_view server, absl::string_view environment_token,
                          Security* security) {
  absl::Status status = ReadFile("--ca", security->ca_file, &security->ca);
  status.Update(ReadFile("--cert", security->certificate_file, &security->certificate));
  status.Update(ReadFile("--key", security->key_file, &security->key));
  status.Update(ReadFile("--token-file", security->token_file, &security->token));
  if (!status.ok()) return status;
  if (security->certificate.empty() != security->key.empty()) {
    return absl::InvalidArgumentError("--cert and --key belong together; give both");
  }
  const bool from_file = !security->token_file.empty();
  if (!from_file) security->token = std::string(environment_token);
  if (!from_file && security->token.empty()) return absl::OkStatus();
  security->token = std::string(absl::StripAsciiWhitespace(security->token));
  status = CheckToken(from_file ? "--token-file" : "$SCALPEL_TOKEN", security->token);
  if (!status.ok()) return status;
  if (security->tls || security->allow_plaintext_token || IsLocal(server)) return status;
  return absl::InvalidArgumentError(absl::StrCat(
      "the token would travel to ", Printable(server),
      " unencrypted; add --tls, or --allow-plaintext-token where the network itself is trusted"));
}

}  // namespace scalpel::client
