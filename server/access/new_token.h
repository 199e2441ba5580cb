// Makes tokens.

#ifndef SCALPEL_SERVER_ACCESS_NEW_TOKEN_H_
#define SCALPEL_SERVER_ACCESS_NEW_TOKEN_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace scalpel::access {

struct NewToken {
  std::string token;  // secret: for the caller alone
  std::string entry;  // JSON for the file of tokens: a runner without end or limits of its own
};

// INVALID_ARGUMENT: callers cannot be named so. INTERNAL: the system has no randomness.
absl::StatusOr<NewToken> MakeToken(absl::string_view name);

// What --new-token prints: a line with the token, and one with its entry. Errors as MakeToken's.
absl::StatusOr<std::string> NewTokenText(absl::string_view name);

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_NEW_TOKEN_H_
