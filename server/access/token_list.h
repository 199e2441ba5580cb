// The accepted tokens, as listed in the token file.

#ifndef SCALPEL_SERVER_ACCESS_TOKEN_LIST_H_
#define SCALPEL_SERVER_ACCESS_TOKEN_LIST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/access/role.h"

namespace scalpel::access {

inline constexpr size_t kTokenFileBytesMax = size_t{1} << 20;
inline constexpr size_t kTokensMax = 10'000;
// Shorter tokens are not accepted, even if their hash is listed: they could be guessed, or found
// from the hash.
inline constexpr size_t kTokenCharactersMin = 32;

using Sha256Hash = std::array<unsigned char, 32>;
Sha256Hash HashOf(absl::string_view token);

// Returns whether `name` is valid for a caller: 1 to 64 characters of [A-Za-z0-9._@-], which need
// no escaping in a log.
bool IsCallerName(absl::string_view name);
// Describes valid names, for messages such as "is not " + kCallerNameForm.
inline constexpr char kCallerNameForm[] = "1 to 64 of the characters A-Z a-z 0-9 . _ @ -";

struct TokenEntry {
  std::string name;  // of the caller
  Sha256Hash hash{};
  Role role = v1::ROLE_READER;
  absl::Time expires = absl::InfiniteFuture();
  // These replace the server's limits per caller; 0 means no limit.
  std::optional<int32_t> calls_max = std::nullopt;
  std::optional<int64_t> tokens_per_second_max = std::nullopt;
};

// Immutable, so thread-safe.
class TokenList {
 public:
  // Parses the content of a token file, {"tokens": [...]}; README.md describes the entries.
  // INVALID_ARGUMENT names the entry at fault and the remedy, and quotes no value from the file.
  static absl::StatusOr<TokenList> Parse(std::string_view text);
  explicit TokenList(std::vector<TokenEntry> entries) : entries_(std::move(entries)) {}

  // Returns the entry of this token, even if it has expired, or null if there is none. The pointer
  // is valid as long as this object. The time does not depend on which entry matches, if any: the
  // token's hash is compared with every entry's, each in constant time.
  const TokenEntry* Find(absl::string_view token) const;

  const std::vector<TokenEntry>& entries() const { return entries_; }

 private:
  std::vector<TokenEntry> entries_;
};

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_TOKEN_LIST_H_
