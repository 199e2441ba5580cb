// The tokens that callers may show, as a file lists them.

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
// A shorter token could be guessed, and its hash reversed: it is never found.
inline constexpr size_t kTokenCharactersMin = 32;

using Sha256Hash = std::array<unsigned char, 32>;
Sha256Hash HashOf(absl::string_view token);

// Whether callers may be named so: 1 to 64 of [A-Za-z0-9._@-], plain in any log.
bool IsCallerName(absl::string_view name);
// "is not ...", for messages.
inline constexpr char kCallerNameForm[] = "1 to 64 of the characters A-Z a-z 0-9 . _ @ -";

struct TokenEntry {
  std::string name;  // of the caller
  Sha256Hash hash{};
  Role role = v1::ROLE_READER;
  absl::Time expires = absl::InfiniteFuture();
  // In place of the server's limits. 0: no limit.
  std::optional<int32_t> calls_max = std::nullopt;
  std::optional<int64_t> tokens_per_second_max = std::nullopt;
};

// Immutable.
class TokenList {
 public:
  // Reads {"tokens": [...]}. INVALID_ARGUMENT names the entry and the remedy, and quotes no value.
  static absl::StatusOr<TokenList> Parse(std::string_view text);
  explicit TokenList(std::vector<TokenEntry> entries) : entries_(std::move(entries)) {}

  // The entry of this token, whether it has expired or not; null: there is none. Takes as long
  // whichever entry it is, or none: the token's hash is compared with all of them, each in constant
  // time.
  const TokenEntry* Find(absl::string_view token) const;

  const std::vector<TokenEntry>& entries() const { return entries_; }

 private:
  std::vector<TokenEntry> entries_;
};

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_TOKEN_LIST_H_
