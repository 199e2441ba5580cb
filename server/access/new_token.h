// Creates tokens.

#ifndef SCALPEL_SERVER_ACCESS_NEW_TOKEN_H_
#define SCALPEL_SERVER_ACCESS_NEW_TOKEN_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace scalpel::access {

struct NewToken {
  std::string token;  // the secret, to be given only to the caller
  std::string entry;  // its JSON entry for the token file: a runner, with no expiry or own limits
};

// Creates a random token for the caller `name`. INVALID_ARGUMENT: `name` does not satisfy
// IsCallerName. INTERNAL: the system provides no random bytes.
absl::StatusOr<NewToken> MakeToken(absl::string_view name);

// Creates a token and returns what --new-token prints: a line with the token, and a line with its
// entry. Errors as in MakeToken.
absl::StatusOr<std::string> NewTokenText(absl::string_view name);

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_NEW_TOKEN_H_
