#include "server/access/token_list.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/base/json.h"

namespace scalpel::access {
namespace {

using Json = nlohmann::json;

constexpr size_t kNameCharactersMax = 64;
constexpr int64_t kCallsMax = 1'000'000;
constexpr int64_t kTokensPerSecondMax = 1'000'000'000'000;
constexpr JsonLimits kJsonLimits{/*depth_max=*/3, /*values_max=*/kTokensMax * 16};

// Each of these functions reads one field, and returns what is wrong with it, or "" if it is valid.

std::string ReadName(const Json& value, std::string* name) {
  if (!value.is_string() || !IsCallerName(value.get_ref<const std::string&>())) {
    return absl::StrCat("is not ", kCallerNameForm);
  }
  *name = value.get<std::string>();
  return "";
}

std::string ReadHash(const Json& value, Sha256Hash* hash) {
  constexpr char kProblem[] =
      "is not 64 hexadecimal digits, the SHA-256 of the token; --new-token makes an entry";
  if (!value.is_string()) return kProblem;
  const std::string& digits = value.get_ref<const std::string&>();
  const bool is_hash = digits.size() == 2 * hash->size() &&
                       std::all_of(digits.begin(), digits.end(),
                                   [](unsigned char digit) { return absl::ascii_isxdigit(digit); });
  if (!is_hash) return kProblem;
  const std::string bytes = absl::HexStringToBytes(digits);
  std::copy(bytes.begin(), bytes.end(), hash->begin());
  return "";
}

std::string ReadRole(const Json& value, Role* role) {
  const std::optional<Role> read =
      value.is_string() ? ParseRole(value.get_ref<const std::string&>()) : std::nullopt;
  if (!read.has_value()) return absl::StrCat("is not one of ", RoleNames());
  *role = *read;
  return "";
}

std::string ReadTime(const Json& value, absl::Time* time) {
  constexpr char kProblem[] = "is not an RFC 3339 time, such as 2027-01-01T00:00:00Z";
  if (!value.is_string()) return kProblem;
  const std::string& text = value.get_ref<const std::string&>();
  // ParseTime accepts more than RFC 3339: spaces, years of any length, "infinite-future".
  const bool has_form = text.size() >= 20 && absl::ascii_isdigit(text[0]) && text[4] == '-' &&
                        text[10] == 'T' &&
                        text.find_first_not_of("0123456789-:.+TZ") == std::string::npos;
  std::string error;
  if (!has_form || !absl::ParseTime(absl::RFC3339_full, text, time, &error)) return kProblem;
  return "";
}

template <typename Integer>
std::string ReadInteger(const Json& value, int64_t least, int64_t most,
                        std::optional<Integer>* read) {
  const bool fits =
      value.is_number_integer() &&
      (value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(most)
                                  : value.get<int64_t>() <= most) &&
      value.get<int64_t>() >= least;
  if (!fits) return absl::StrCat("is not a whole number in [", least, ", ", most, "]");
  *read = static_cast<Integer>(value.get<int64_t>());
  return "";
}

std::string ReadField(const std::string& key, const Json& value, TokenEntry* entry) {
  if (key == "name") return ReadName(value, &entry->name);
  if (key == "sha256") return ReadHash(value, &entry->hash);
  if (key == "role") return ReadRole(value, &entry->role);
  if (key == "expires") return ReadTime(value, &entry->expires);
  if (key == "max_calls") return ReadInteger(value, 0, kCallsMax, &entry->calls_max);
  if (key == "max_tokens_per_second") {
    return ReadInteger(value, 0, kTokensPerSecondMax, &entry->tokens_per_second_max);
  }
  return "is not a key of a token; those are name, sha256, role, expires, max_calls, "
         "max_tokens_per_second";
}

absl::Status Wrong(absl::string_view place, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(place, ": ", problem));
}

absl::StatusOr<TokenEntry> ReadEntry(const std::string& place, const Json& json) {
  if (!json.is_object()) return Wrong(place, "is not an object");
  TokenEntry entry;
  for (const auto& [key, value] : json.items()) {
    const std::string problem = ReadField(key, value, &entry);
    if (!problem.empty()) return Wrong(place, absl::StrCat(QuotedName(key), " ", problem));
  }
  for (const char* required : {"name", "sha256", "role"}) {
    if (!json.contains(required)) return Wrong(place, absl::StrCat("has no \"", required, "\""));
  }
  return entry;
}

}  // namespace

Sha256Hash HashOf(absl::string_view token) {
  Sha256Hash hash;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  return hash;
}

bool IsCallerName(absl::string_view name) {
  return !name.empty() && name.size() <= kNameCharactersMax &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '@' || c == '-';
         });
}

absl::StatusOr<TokenList> TokenList::Parse(std::string_view text) {
  if (text.size() > kTokenFileBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("more than ", kTokenFileBytesMax, " bytes"));
  }
  const absl::StatusOr<Json> json = ParseJson(text, kJsonLimits);
  if (!json.ok()) return json.status();
  if (!json->is_object() || json->size() != 1 || !json->contains("tokens") ||
      !json->at("tokens").is_array()) {
    return absl::InvalidArgumentError("is not of the form {\"tokens\": [...]}");
  }
  const Json& listed = json->at("tokens");
  if (listed.size() > kTokensMax) {
    return Wrong("tokens", absl::StrCat(listed.size(), " entries; the limit is ", kTokensMax));
  }
  std::vector<TokenEntry> entries;
  absl::flat_hash_set<std::string> names;
  absl::flat_hash_set<Sha256Hash> hashes;
  for (size_t i = 0; i < listed.size(); ++i) {
    const std::string place = absl::StrCat("tokens[", i, "]");
    absl::StatusOr<TokenEntry> entry = ReadEntry(place, listed[i]);
    if (!entry.ok()) return entry.status();
    if (!names.insert(entry->name).second) return Wrong(place, "another entry has the same name");
    if (!hashes.insert(entry->hash).second) return Wrong(place, "another entry has the same token");
    entries.push_back(*std::move(entry));
  }
  return TokenList(std::move(entries));
}

const TokenEntry* TokenList::Find(absl::string_view token) const {
  if (token.size() < kTokenCharactersMin) return nullptr;
  const Sha256Hash hash = HashOf(token);
  const TokenEntry* found = nullptr;
  for (const TokenEntry& entry : entries_) {  // no early exit: see the header
    if (CRYPTO_memcmp(entry.hash.data(), hash.data(), hash.size()) == 0) found = &entry;
  }
  return found;
}

}  // namespace scalpel::access
