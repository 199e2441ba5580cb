#include "server/model/special_tokens.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/json.h"
#include "server/model/token_names.h"
#include "server/model/tokenizer_json.h"

namespace scalpel::model {
namespace {

using Json = nlohmann::json;

constexpr char kGpt2End[] = "<|endoftext|>";

// Fills roles that no file names: from GPT2Tokenizer's defaults, and from tokenizer.json's padding.
void FillDefaults(const TokenFiles& files, TokenNames* names) {
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
void PassThroughSlowTokenizer(TokenNames* names) {
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
std::vector<NamedToken> SpecialTokens(const TokenNames& names) {
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
std::vector<AddedToken> TokensToAdd(const TokenNames& names, const AddedTokens& added) {
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
  absl::StatusOr<TokenNames> names = ReadTokenNames(files, &said);
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
