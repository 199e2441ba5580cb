// Fuzzes the reader of the token file. What it accepts says the same when it is written anew, and a
// token is found if and only if an entry has its hash.

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/time/time.h"
#include "server/access/token_list.h"
#include "tests/fuzz/fuzz.h"

namespace {

using scalpel::access::HashOf;
using scalpel::access::TokenEntry;
using scalpel::access::TokenList;

// The seeds and the dictionary have its hash.
// RFC 3339, which wants four digits of a year.
constexpr char kTime[] = "%E4Y-%m-%dT%H:%M:%E*S%Ez";
constexpr char kToken[] = "a token of at least thirty-two characters";

std::string Hex(const scalpel::access::Sha256Hash& hash) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(hash.data()), hash.size()});
}

std::string Written(const TokenList& list) {
  auto tokens = nlohmann::json::array();
  for (const TokenEntry& entry : list.entries()) {
    nlohmann::json json = {{"name", entry.name},
                           {"sha256", Hex(entry.hash)},
                           {"role", scalpel::access::RoleName(entry.role)}};
    if (entry.expires != absl::InfiniteFuture())
      json["expires"] = absl::FormatTime(kTime, entry.expires, absl::UTCTimeZone());
    if (entry.calls_max) json["max_calls"] = *entry.calls_max;
    if (entry.tokens_per_second_max) json["max_tokens_per_second"] = *entry.tokens_per_second_max;
    tokens.push_back(json);
  }
  return nlohmann::json{{"tokens", tokens}}.dump();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto list = TokenList::Parse(scalpel::fuzz::Text(data, size));
  if (!list.ok()) {
    HOLDS(absl::IsInvalidArgument(list.status()));
    scalpel::fuzz::HoldsForMessage(list.status());
    return 0;
  }
  std::set<std::string> names, hashes;
  for (const TokenEntry& entry : list->entries()) {
    HOLDS(scalpel::access::IsCallerName(entry.name) && names.insert(entry.name).second);
    HOLDS(hashes.insert(Hex(entry.hash)).second);
    HOLDS(entry.role != scalpel::v1::ROLE_UNSPECIFIED);
    HOLDS(entry.calls_max.value_or(0) >= 0 && entry.tokens_per_second_max.value_or(0) >= 0);
  }
  const TokenEntry* found = list->Find(kToken);
  HOLDS((found != nullptr) == hashes.contains(Hex(HashOf(kToken))));
  HOLDS(found == nullptr || found->hash == HashOf(kToken));
  const std::string written = Written(*list);
  const auto again = TokenList::Parse(written);
  HOLDS(again.ok() && Written(*again) == written);
  return 0;
}
