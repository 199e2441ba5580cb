#include "server/access/new_token.h"

#include <openssl/rand.h>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/access/role.h"
#include "server/access/token_list.h"

namespace scalpel::access {
namespace {

constexpr char kPrefix[] = "scalpel_";  // lets secret scanners recognise a leaked token
constexpr size_t kRandomBytes = 32;

absl::string_view AsText(const unsigned char* bytes, size_t size) {
  return absl::string_view(reinterpret_cast<const char*>(bytes), size);
}

}  // namespace

absl::StatusOr<NewToken> MakeToken(absl::string_view name) {
  if (!IsCallerName(name)) {
    return absl::InvalidArgumentError(absl::StrCat("the name is not ", kCallerNameForm));
  }
  unsigned char secret[kRandomBytes];
  if (RAND_bytes(secret, sizeof(secret)) != 1) {
    return absl::InternalError("the system provides no random bytes");
  }
  NewToken made;
  made.token = absl::StrCat(kPrefix, absl::WebSafeBase64Escape(AsText(secret, sizeof(secret))));
  const Sha256Hash hash = HashOf(made.token);
  made.entry = absl::StrCat("{\"name\": \"", name, "\", \"sha256\": \"",
                            absl::BytesToHexString(AsText(hash.data(), hash.size())),
                            "\", \"role\": \"", RoleName(v1::ROLE_RUNNER), "\"}");
  return made;
}

absl::StatusOr<std::string> NewTokenText(absl::string_view name) {
  const absl::StatusOr<NewToken> made = MakeToken(name);
  if (!made.ok()) return made.status();
  return absl::StrCat(made->token, "\n", made->entry, "\n");
}

}  // namespace scalpel::access
