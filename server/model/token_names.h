// Reads the tokens that a tokenizer's files name, with their roles, flags and ids, before any of
// them is added to the vocabulary.

#ifndef SCALPEL_SERVER_MODEL_TOKEN_NAMES_H_
#define SCALPEL_SERVER_MODEL_TOKEN_NAMES_H_

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/added_tokens.h"
#include "server/model/tokenizer_json.h"

namespace scalpel::model {

// In transformers' order, which decides the ids of new tokens.
inline constexpr std::array<const char*, 7> kRoles = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

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

// Returns a token that is named by its text alone.
NamedToken ByText(const std::string& text);

// What transformers has read from the files before it adds any token.
struct TokenNames {
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

// Returns the tokens of added_tokens in tokenizer.json, in their order, and records their ids.
// INVALID_ARGUMENT, naming the file, if transformers would not accept it.
absl::StatusOr<std::vector<AddedToken>> ReadTokenizerTokens(const nlohmann::json& tokenizer,
                                                            SaidIds* said);

// Returns the tokens that the files name, with those that have an id, and records their ids.
// INVALID_ARGUMENT, naming the file, if transformers would not accept it.
absl::StatusOr<TokenNames> ReadTokenNames(const TokenFiles& files, SaidIds* said);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TOKEN_NAMES_H_
