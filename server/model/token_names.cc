#include "server/model/token_names.h"

#include <cstddef>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/json.h"

namespace scalpel::model {
namespace {

using Json = nlohmann::json;

constexpr size_t kAddedTokensMax = 10'000;
constexpr char kAdditional[] = "additional_special_tokens";

// Parses a token that is an object with `content` and flags.
absl::StatusOr<NamedToken> ParseToken(const char* file, const Json& entry) {
  if (!entry.is_object() || !Field(entry, "content").is_string()) {
    return RefuseFile(file, "an added token is not an object with content");
  }
  NamedToken named;
  named.token.content = entry["content"].get<std::string>();
  if (named.token.content.empty()) return RefuseFile(file, "an added token is empty");
  const std::pair<const char*, bool*> flags[] = {{"special", &named.token.special},
                                                 {"normalized", &named.token.normalized},
                                                 {"lstrip", &named.token.lstrip},
                                                 {"rstrip", &named.token.rstrip},
                                                 {"single_word", &named.token.single_word}};
  for (const auto& [name, flag] : flags) {
    if (!entry.contains(name)) continue;
    if (!entry[name].is_boolean()) {
      return RefuseFile(file, absl::StrCat("added token ", QuotedName(named.token.content), ": ",
                                           name, " is not true or false"));
    }
    *flag = entry[name].get<bool>();
    if (flag == &named.token.normalized) named.says_normalized = true;
  }
  return named;
}

// Records that a file gives a token an id. Several files may do so if they agree.
absl::Status NoteId(const char* file, const std::string& content, const Json& id, SaidIds* said) {
  if (!IsTokenId(id)) {
    return RefuseFile(file, absl::StrCat("added token ", QuotedName(content),
                                         ": its id is not an integer in [0, ", kTokenIdMax, "]"));
  }
  const SaidId now{id.get<int32_t>(), file};
  const SaidId known = said->by_content.emplace(content, now).first->second;
  const std::string& owner = said->contents.emplace(now.id, content).first->second;
  if (known.id != now.id || owner != content) {
    return RefuseFile(file,
                      absl::StrCat("added token ", QuotedName(content), " with id ", now.id,
                                   " contradicts ", QuotedName(owner == content ? content : owner),
                                   " with id ", owner == content ? known.id : now.id));
  }
  if (said->contents.size() > kAddedTokensMax) {
    return RefuseFile(file, absl::StrCat("more than ", kAddedTokensMax, " added tokens"));
  }
  return absl::OkStatus();
}

// Reads an object that describes a token with its id. transformers adds the token, and uses its
// flags for a role that is named by the token's text.
absl::Status TakeDescribed(const char* file, const Json& entry, const Json& id, TokenNames* names,
                           SaidIds* said) {
  absl::StatusOr<NamedToken> named = ParseToken(file, entry);
  if (!named.ok()) return named.status();
  absl::Status noted = NoteId(file, named->token.content, id, said);
  if (!noted.ok()) return noted;
  names->described[named->token.content] = *named;
  names->decoder[id.get<int32_t>()] = *std::move(named);
  return absl::OkStatus();
}

absl::Status BadRole(const char* file, const std::string& role) {
  return RefuseFile(file, absl::StrCat(role, " is neither a text nor an added token"));
}

// Reads a role's token in tokenizer_config.json, where an object needs "__type": "AddedToken".
absl::StatusOr<NamedToken> ConfigToken(const std::string& role, const Json& value) {
  if (value.is_string()) return ByText(value.get<std::string>());
  if (!value.is_object() || Field(value, "__type") != "AddedToken") {
    return BadRole(kTokenizerConfigFile, role);
  }
  return ParseToken(kTokenizerConfigFile, value);
}

// Reads a role's token in special_tokens_map.json, where every object is a special token.
absl::StatusOr<NamedToken> MapToken(const std::string& role, const Json& value) {
  if (value.is_string()) return ByText(value.get<std::string>());
  if (!value.is_object()) return BadRole(kSpecialTokensMapFile, role);
  absl::StatusOr<NamedToken> named = ParseToken(kSpecialTokensMapFile, value);
  if (named.ok()) named->token.special = true;
  return named;
}

using ReadToken = absl::StatusOr<NamedToken> (*)(const std::string&, const Json&);

// Reads the roles of one file, which replace those that were read before, and its additional
// tokens.
absl::Status ReadRoles(const char* file, const Json& object, ReadToken read, TokenNames* names) {
  for (const char* role : kRoles) {
    if (!object.contains(role)) continue;
    names->roles[role] = std::nullopt;
    if (object[role].is_null()) continue;
    absl::StatusOr<NamedToken> named = read(role, object[role]);
    if (!named.ok()) return named.status();
    names->roles[role] = *std::move(named);
  }
  const Json& additional = Field(object, kAdditional);
  if (additional.is_null()) {
    if (object.contains(kAdditional)) names->additional.clear();
    return absl::OkStatus();
  }
  if (!additional.is_array()) return RefuseFile(file, absl::StrCat(kAdditional, " is not a list"));
  for (const Json& value : additional) {
    absl::StatusOr<NamedToken> named = read(kAdditional, value);
    if (!named.ok()) return named.status();
    names->additional.push_back(*std::move(named));
  }
  return absl::OkStatus();
}

// Reads tokenizer_config.json's extra_special_tokens: an object in transformers 4, a list in 5.
absl::Status ReadExtra(const Json& config, TokenNames* names) {
  const Json& extra = Field(config, "extra_special_tokens");
  if (extra.is_null()) return absl::OkStatus();
  if (!extra.is_structured()) {
    return RefuseFile(kTokenizerConfigFile, "extra_special_tokens is neither a list nor an object");
  }
  for (const Json& value : extra) {
    absl::StatusOr<NamedToken> named = ConfigToken("extra_special_tokens", value);
    if (!named.ok()) return named.status();
    names->extra.push_back(*std::move(named));
  }
  return absl::OkStatus();
}

// Reads tokenizer_config.json's added_tokens_decoder. If it exists, transformers reads no tokens
// from any other file but tokenizer.json.
absl::Status ReadDecoder(const Json& decoder, TokenNames* names, SaidIds* said) {
  if (!decoder.is_object()) {
    return RefuseFile(kTokenizerConfigFile, "added_tokens_decoder is not an object");
  }
  for (const auto& [key, entry] : decoder.items()) {
    const absl::StatusOr<Json> id = ParseJson(key);
    absl::Status taken =
        TakeDescribed(kTokenizerConfigFile, entry, id.ok() ? *id : Json(), names, said);
    if (!taken.ok()) return taken;
  }
  return absl::OkStatus();
}

// Reads added_tokens.json. Its tokens are special if a file that was read before gives them a role.
absl::Status ReadAdded(const Json& added, TokenNames* names, SaidIds* said) {
  std::set<std::string> special;
  for (const auto& [role, named] : names->roles) {
    if (named) special.insert(named->token.content);
  }
  for (const NamedToken& named : names->additional) special.insert(named.token.content);
  for (const auto& [content, id] : added.items()) {
    if (content.empty()) return RefuseFile(kAddedTokensFile, "an added token is empty");
    absl::Status noted = NoteId(kAddedTokensFile, content, id, said);
    if (!noted.ok()) return noted;
    NamedToken named;
    named.token.content = content;
    named.token.special = special.contains(content);
    named.token.normalized = !named.token.special;
    named.says_normalized = true;
    names->decoder[id.get<int32_t>()] = std::move(named);
  }
  return absl::OkStatus();
}

}  // namespace

NamedToken ByText(const std::string& text) {
  NamedToken named;
  named.token.content = text;
  named.is_text = true;
  return named;
}

absl::StatusOr<std::vector<AddedToken>> ReadTokenizerTokens(const Json& tokenizer, SaidIds* said) {
  const Json& entries = Field(tokenizer, "added_tokens");
  if (!entries.is_null() && !entries.is_array()) {
    return RefuseFile(kTokenizerFile, "added_tokens is not a list");
  }
  std::vector<AddedToken> tokens;
  for (const Json& entry : entries) {
    absl::StatusOr<NamedToken> named = ParseToken(kTokenizerFile, entry);
    if (!named.ok()) return named.status();
    absl::Status noted = NoteId(kTokenizerFile, named->token.content, Field(entry, "id"), said);
    if (!noted.ok()) return noted;
    tokens.push_back(named->AsSaid());
  }
  return tokens;
}

absl::StatusOr<TokenNames> ReadTokenNames(const TokenFiles& files, SaidIds* said) {
  TokenNames names;
  absl::Status read = ReadRoles(kTokenizerConfigFile, files.tokenizer_config, ConfigToken, &names);
  if (read.ok()) read = ReadExtra(files.tokenizer_config, &names);
  if (!read.ok()) return read;
  if (files.tokenizer_config.contains("added_tokens_decoder")) {
    read = ReadDecoder(files.tokenizer_config["added_tokens_decoder"], &names, said);
  } else {
    read = ReadRoles(kSpecialTokensMapFile, files.special_tokens_map, MapToken, &names);
    if (read.ok()) read = ReadAdded(files.added_tokens, &names, said);
    for (const Json& entry : Field(files.tokenizer, "added_tokens")) {
      if (read.ok()) read = TakeDescribed(kTokenizerFile, entry, Field(entry, "id"), &names, said);
    }
  }
  if (!read.ok()) return read;
  for (auto& [role, named] : names.roles) {
    if (!named) continue;
    const auto described = names.described.find(named->token.content);
    if (described != names.described.end()) named = described->second;
  }
  return names;
}

}  // namespace scalpel::model
