#include "client/cpp/affinity.h"

#include <openssl/sha.h>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace scalpel::client {

std::string Affinity(const google::protobuf::RepeatedPtrField<v1::Prompt>& prompts) {
  constexpr size_t kBytes = 8;
  if (prompts.empty()) return "";
  const std::string first = prompts[0].SerializeAsString();
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(first.data()), first.size(), hash);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(hash), kBytes));
}

}  // namespace scalpel::client
