#include "server/model/special_tokens.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/json.h"
#include "server/model/tokenizer_json.h"

namespace scalpel::model {
namespace {

using Json = nlohmann::json;

constexpr size_t kAddedTokensMax = 10'000;
constexpr char kAdditional[] = "additional_special_tokens";
// In transformers' order, which decides the ids of new tokens.
constexpr std::array<const char*, 7> kRoles = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};
constexpr char kGpt2End[] = "<|endoftext|>";

// A token as a file names it: by its text alone, or as an object with flags.
struct NamedToken {
  AddedToken token;
  bool is_text = false;          // named by its text alone
  bool says_normalized = false;  // the file has `normalized`

  // Returns the token with the given `special`, from which `normalized` follows if no file says it.
  AddedToken As(bool special) const {
    AddedToken result = token;
    result.special = special;
    if (!says_normalized) result.normalized = !special;
    return result;
  }
  AddedToken AsSaid() const { return As(token.special); }
};

NamedToken ByText(const std::string& text) {
  NamedToken named;
  named.token.content = text;
  named.is_text = true;
  return named;
}

// What transformers has read from the files before it adds any token.
struct Names {
  std::map<std::string, std::optional<NamedToken>> roles;  // nullopt: the file says null
  std::vector<NamedToken> additional;                      // additional_special_tokens
  std::vector<NamedToken> extra;                           // extra_special_tokens
  std::map<int32_t, NamedToken> decoder;                   // by id, the order of adding
  std::map<std::string, NamedToken> described;  // by content; replaces a role that has this text
};

// An id that a file gives to a token.
struct SaidId {
  int32_t id;
  const char* file;
};
// All ids that files give to tokens, checked for contradictions by NoteId.
struct SaidIds {
  std::map<std::string, SaidId> by_content;
  std::map<int32_t, std::string> contents;
};

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
absl::Status TakeDescribed(const char* file, const Json& entry, const Json& id, Names* names,
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
absl::Status ReadRoles(const char* file, const Json& object, ReadToken read, Names* names) {
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
absl::Status ReadExtra(const Json& config, Names* names) {
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
absl::Status ReadDecoder(const Json& decoder, Names* names, SaidIds* said) {
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
absl::Status ReadAdded(const Json& added, Names* names, SaidIds* said) {
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

// Returns the tokens of added_tokens in tokenizer.json, in their order, and records their ids.
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

absl::StatusOr<Names> ReadNames(const TokenFiles& files, SaidIds* said) {
  Names names;
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

// Fills roles that no file names: from GPT2Tokenizer's defaults, and from tokenizer.json's padding.
void FillDefaults(const TokenFiles& files, Names* names) {
  if (files.is_gpt2_class) {
    for (const char* role : {"bos_token", "eos_token", "unk_token"}) {
      names->roles.emplace(role, ByText(kGpt2End));
    }
  }
  const Json& padding = Field(files.tokenizer, "padding");
  if (padding.is_object() && Field(padding, "pad_token").is_string()) {
    names->roles.emplace("pad_token", ByText(padding["pad_token"].get<std::string>()));
  }
}

// Without tokenizer.json, transformers makes a slow tokenizer first, and the fast one from its
// arguments. On the way, the slow GPT2Tokenizer turns the texts of four roles into tokens, and each
// token is copied. A copy states `normalized`, which it decides before the token is marked as
// special.
void PassThroughSlowTokenizer(Names* names) {
  const auto copied = [](NamedToken* named) {
    named->token = named->AsSaid();
    named->says_normalized = true;
  };
  for (auto& [role, named] : names->roles) {
    if (!named) continue;
    const bool made =
        role == "bos_token" || role == "eos_token" || role == "unk_token" || role == "pad_token";
    if (made) named->is_text = false;
    if (!named->is_text) copied(&*named);
  }
  for (std::vector<NamedToken>* list : {&names->additional, &names->extra}) {
    for (NamedToken& named : *list) {
      if (!named.is_text) copied(&named);
    }
  }
}

// Returns the tokens that have a role, in transformers' order and without duplicates.
std::vector<NamedToken> SpecialTokens(const Names& names) {
  std::vector<NamedToken> all;
  std::set<std::string> seen;
  const auto add = [&](const NamedToken& named) {
    if (!named.token.content.empty() && seen.insert(named.token.content).second)
      all.push_back(named);
  };
  for (const char* role : kRoles) {
    const auto named = names.roles.find(role);
    if (named != names.roles.end() && named->second) add(*named->second);
  }
  for (const NamedToken& named : names.additional) add(named);
  for (const NamedToken& named : names.extra) add(named);
  return all;
}

// Returns what PreTrainedTokenizerFast.__init__ adds: the tokens that have an id in a file, in
// order of their ids; then the special tokens that are not among them. A text is among them if one
// has this content; a token with flags, only if one equals it in all flags. Otherwise it is added
// once more, and its flags prevail.
std::vector<AddedToken> TokensToAdd(const Names& names, const AddedTokens& added) {
  const std::vector<NamedToken> special = SpecialTokens(names);
  std::set<std::string> special_contents;
  for (const NamedToken& named : special) special_contents.insert(named.token.content);
  std::vector<NamedToken> listed;
  std::set<std::string> contents;
  for (const auto& [id, named] : names.decoder) {
    listed.push_back(named);
    contents.insert(named.token.content);
  }
  for (const auto& [id, token] : added.by_id()) contents.insert(token.content);
  const size_t with_id = listed.size();
  for (const NamedToken& named : special) {
    const bool known =
        named.is_text
            ? contents.contains(named.token.content)
            : std::any_of(
                  listed.begin(), listed.begin() + static_cast<std::ptrdiff_t>(with_id),
                  [&](const NamedToken& other) { return other.AsSaid() == named.AsSaid(); });
    if (!known) listed.push_back(named);
  }
  std::vector<AddedToken> tokens;
  for (const NamedToken& named : listed) {
    tokens.push_back(
        named.As(named.token.special || special_contents.contains(named.token.content)));
  }
  return tokens;
}

// Refuses an object with several new tokens: nlohmann::json loses their order, which decides the
// ids.
absl::Status CheckExtra(const Json& extra, const AddedTokens& added, const Vocabulary& vocabulary) {
  if (!extra.is_object()) return absl::OkStatus();
  const auto is_new = [&](const Json& value) {
    const Json& content = value.is_object() ? Field(value, "content") : value;
    return !added.Id(content.get_ref<const std::string&>()) &&
           !vocabulary.contains(content.get_ref<const std::string&>());
  };
  if (std::count_if(extra.begin(), extra.end(), is_new) < 2) return absl::OkStatus();
  return RefuseFile(kTokenizerConfigFile,
                    "extra_special_tokens names several tokens that have no id in any file; save "
                    "the tokenizer with tokenizer.json");
}

// Checks that every token has the id that the files give it, and shares it with no other token.
absl::Status CheckIds(const SaidIds& all, const AddedTokens& added, const Vocabulary& vocabulary) {
  for (const auto& [content, said] : all.by_content) {
    const std::optional<int32_t> id = added.Id(content);
    if (id == said.id) continue;
    return RefuseFile(
        said.file,
        absl::StrCat("added token ", QuotedName(content), " has id ", said.id, " but ",
                     vocabulary.contains(content)
                         ? "the vocabulary says "
                         : "transformers, whose fast tokenizer leaves no gaps, gives it ",
                     id.value_or(-1)));
  }
  std::map<int32_t, std::string> owners;
  for (const auto& [token, id] : vocabulary) owners.emplace(id, token);
  for (const auto& [id, token] : added.by_id()) {
    const auto owner = owners.find(id);
    if (owner == owners.end() || owner->second == token.content) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer: added token ", QuotedName(token.content), " has id ", id,
                     ", which is another token's: the vocabulary's ids have gaps"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AddedTokens> ReadAddedTokens(const TokenFiles& files, const Vocabulary& vocabulary) {
  SaidIds said;
  const auto tokens = ReadTokenizerTokens(files.tokenizer, &said);
  if (!tokens.ok()) return tokens.status();
  absl::StatusOr<Names> names = ReadNames(files, &said);
  if (!names.ok()) return names.status();
  absl::StatusOr<AddedTokens> added = AddedTokens::Make();
  if (!added.ok()) return added.status();
  FillDefaults(files, &*names);
  if (files.tokenizer.empty()) PassThroughSlowTokenizer(&*names);
  added->Add(*tokens, vocabulary);
  const Json& extra = Field(files.tokenizer_config, "extra_special_tokens");
  if (absl::Status checked = CheckExtra(extra, *added, vocabulary); !checked.ok()) return checked;
  added->Add(TokensToAdd(*names, *added), vocabulary);
  if (absl::Status checked = CheckIds(said, *added, vocabulary); !checked.ok()) return checked;
  const Json& split = Field(files.tokenizer_config, "split_special_tokens");
  if (!split.is_null() && !split.is_boolean()) {
    return RefuseFile(kTokenizerConfigFile, "split_special_tokens is not true or false");
  }
  added->set_split_special(split == true);
  return added;
}

}  // namespace scalpel::model
