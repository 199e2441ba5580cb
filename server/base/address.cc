#include "server/base/address.h"

#include "absl/strings/str_cat.h"

namespace scalpel {

std::string Reachable(const std::string& address) {
  const std::string port = address.substr(address.rfind(':'));
  const std::string host = address.substr(0, address.rfind(':'));
  if (host == "0.0.0.0") return absl::StrCat("127.0.0.1", port);
  if (host == "[::]") return absl::StrCat("[::1]", port);
  return address;
}

}  // namespace scalpel
