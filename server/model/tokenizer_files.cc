#include "server/model/tokenizer_files.h"

#include <initializer_list>
#include <set>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/model/json.h"
#include "server/model/model_file.h"

namespace scalpel::model {
namespace {

using Json = nlohmann::json;

constexpr char kTokenizerFile[] = "tokenizer.json";
constexpr char kVocabFile[] = "vocab.json";
constexpr char kMergesFile[] = "merges.txt";
constexpr char kConfigFile[] = "tokenizer_config.json";
constexpr char kSpecialMapFile[] = "special_tokens_map.json";
constexpr char kAddedFile[] = "added_tokens.json";
constexpr int64_t kFileBytesMax = int64_t{256} << 20;
constexpr size_t kAddedTokensMax = 10'000;
constexpr JsonLimits kLimits{/*depth_max=*/16, /*values_max=*/20'000'000};

absl::Status Refuse(absl::string_view file, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", problem));
}

// The file's JSON object. NOT_FOUND if there is no such file.
absl::StatusOr<Json> ReadObject(const std::filesystem::path& dir, const char* file) {
  absl::StatusOr<std::string> text = ReadModelFile(dir, file, kFileBytesMax);
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> json = ParseJson(*text, kLimits);
  if (!json.ok()) return Refuse(file, json.status().message());
  if (!json->is_object()) return Refuse(file, "not a JSON object");
  return json;
}

// As ReadObject, but a missing file is an empty object.
absl::StatusOr<Json> ReadOptionalObject(const std::filesystem::path& dir, const char* file) {
  absl::StatusOr<Json> json = ReadObject(dir, file);
  if (absl::IsNotFound(json.status())) return Json::object();
  return json;
}

// The field, or null.
const Json& Field(const Json& object, const char* name) {
  static const Json kNull;
  const auto field = object.find(name);
  return field == object.end() ? kNull : *field;
}

bool IsTrue(const Json& object, const char* name) { return Field(object, name) == true; }

bool IsTokenId(const Json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{kTokenIdMax};
}

absl::StatusOr<std::map<std::string, int32_t>> ParseVocabulary(const char* file,
                                                               const Json& object) {
  if (!object.is_object()) return Refuse(file, "the vocabulary is not an object");
  if (object.empty()) return Refuse(file, "the vocabulary is empty");
  std::map<std::string, int32_t> vocabulary;
  std::set<int32_t> ids;
  for (const auto& [token, id] : object.items()) {
    if (!IsTokenId(id)) {
      return Refuse(file, absl::StrCat("token ", QuotedName(token),
                                       ": its id is not an integer in "
                                       "[0, ",
                                       kTokenIdMax, "]"));
    }
    if (!ids.insert(id.get<int32_t>()).second) {
      return Refuse(file, absl::StrCat("token ", QuotedName(token), ": its id ", id.get<int32_t>(),
                                       " is another token's too"));
    }
    vocabulary.emplace(token, id.get<int32_t>());
  }
  return vocabulary;
}

// Splits "a b" at its one space.
bool SplitMerge(absl::string_view line, std::pair<std::string, std::string>* merge) {
  const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ');
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) return false;
  *merge = {std::string(parts[0]), std::string(parts[1])};
  return true;
}

// Lines "a b" after a first line "#version: ...". transformers drops the first line and what
// follows the last newline whatever they hold, so a merge there would be lost without a word.
absl::Status ReadMerges(const std::filesystem::path& dir, TokenizerFiles* files) {
  absl::StatusOr<std::string> text = ReadModelFile(dir, kMergesFile, kFileBytesMax);
  if (!text.ok()) return text.status();
  if (text->rfind("#version", 0) != 0)
    return Refuse(kMergesFile, "line 1 is not \"#version: ...\"");
  if (text->back() != '\n') return Refuse(kMergesFile, "does not end with a newline");
  const std::vector<absl::string_view> lines = absl::StrSplit(*text, '\n');
  for (size_t i = 1; i + 1 < lines.size(); ++i) {
    absl::string_view line = lines[i];
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!SplitMerge(line, &files->merges.emplace_back())) {
      return Refuse(kMergesFile, absl::StrCat("line ", i + 1, " is not two tokens and a space"));
    }
  }
  return absl::OkStatus();
}

// The merges of tokenizer.json: "a b", or ["a", "b"] as newer versions write.
absl::Status ParseMerges(const Json& merges, TokenizerFiles* files) {
  if (!merges.is_array()) return Refuse(kTokenizerFile, "model.merges is not a list");
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json& entry = merges[i];
    std::pair<std::string, std::string>& merge = files->merges.emplace_back();
    if (entry.is_string() && SplitMerge(entry.get_ref<const std::string&>(), &merge)) continue;
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      merge = {entry[0].get<std::string>(), entry[1].get<std::string>()};
      continue;
    }
    return Refuse(kTokenizerFile, absl::StrCat("model.merges[", i, "] is not two tokens"));
  }
  return absl::OkStatus();
}

// Adds a token, once: the files may name it several times, with the same id.
absl::Status AddToken(const char* file, AddedToken token, TokenizerFiles* files) {
  if (token.content.empty()) return Refuse(file, "an added token is empty");
  for (const AddedToken& known : files->added) {
    if (known.content == token.content && known.id == token.id) return absl::OkStatus();
    if (known.content == token.content || known.id == token.id) {
      return Refuse(
          file, absl::StrCat("added token ", QuotedName(token.content), " with id ", token.id,
                             " contradicts ", QuotedName(known.content), " with id ", known.id));
    }
  }
  const auto in_vocabulary = files->vocabulary.find(token.content);
  if (in_vocabulary != files->vocabulary.end() && in_vocabulary->second != token.id) {
    return Refuse(file, absl::StrCat("added token ", QuotedName(token.content), " has id ",
                                     token.id, " but the vocabulary says ", in_vocabulary->second));
  }
  if (files->added.size() == kAddedTokensMax) {
    return Refuse(file, absl::StrCat("more than ", kAddedTokensMax, " added tokens"));
  }
  files->added.push_back(std::move(token));
  return absl::OkStatus();
}

// An entry of added_tokens or added_tokens_decoder.
absl::Status ParseAddedToken(const char* file, const Json& entry, const Json& id,
                             TokenizerFiles* files) {
  if (!entry.is_object() || !Field(entry, "content").is_string() || !IsTokenId(id)) {
    return Refuse(file, "an added token is not an object with content and id");
  }
  const std::string content = entry["content"].get<std::string>();
  for (const char* flag : {"single_word", "lstrip", "rstrip"}) {
    if (IsTrue(entry, flag)) {
      return Refuse(
          file, absl::StrCat("added token ", QuotedName(content), ": ", flag, " is not supported"));
    }
  }
  return AddToken(file, {content, id.get<int32_t>(), IsTrue(entry, "normalized")}, files);
}

// What tokenizer_config.json changes.
absl::Status ReadConfig(const std::filesystem::path& dir, TokenizerFiles* files, Json* config) {
  absl::StatusOr<Json> read = ReadOptionalObject(dir, kConfigFile);
  if (!read.ok()) return read.status();
  *config = *std::move(read);
  for (const char* flag : {"add_prefix_space", "add_bos_token"}) {
    if (IsTrue(*config, flag)) return Refuse(kConfigFile, absl::StrCat(flag, " is not supported"));
  }
  const Json& decoder = Field(*config, "added_tokens_decoder");
  if (decoder.is_null()) return absl::OkStatus();
  if (!decoder.is_object()) return Refuse(kConfigFile, "added_tokens_decoder is not an object");
  for (const auto& [key, entry] : decoder.items()) {
    absl::StatusOr<Json> id = ParseJson(key);
    absl::Status added = ParseAddedToken(kConfigFile, entry, id.ok() ? *id : Json(), files);
    if (!added.ok()) return added;
  }
  return absl::OkStatus();
}

// The tokens that are special by their role. One that the vocabulary lacks is left out: it has no
// row in the model either.
absl::Status AddSpecialTokens(const char* file, const Json& roles, TokenizerFiles* files) {
  for (const char* role : {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token",
                           "cls_token", "mask_token"}) {
    const Json& value = Field(roles, role);
    const Json& content = value.is_object() ? Field(value, "content") : value;
    if (!content.is_string()) continue;
    const auto token = files->vocabulary.find(content.get<std::string>());
    if (token == files->vocabulary.end()) continue;
    absl::Status added = AddToken(file, {token->first, token->second, false}, files);
    if (!added.ok()) return added;
  }
  return absl::OkStatus();
}

absl::Status CheckPart(const Json& tokenizer, const char* part) {
  const Json& value = Field(tokenizer, part);
  if (value.is_null()) return absl::OkStatus();
  if (value.is_object() && Field(value, "type") == "ByteLevel") return absl::OkStatus();
  const Json& type = value.is_object() ? Field(value, "type") : value;
  return Refuse(kTokenizerFile, absl::StrCat(part, " of type ",
                                             type.is_string() ? QuotedName(type.get<std::string>())
                                                              : std::string("unknown"),
                                             " is not supported; only ByteLevel is"));
}

// Refuses a tokenizer.json whose parts are not those of GPT-2. pre_tokenizer.add_prefix_space is
// not looked at: GPT2TokenizerFast overrides it by tokenizer_config.json.
absl::Status CheckTokenizer(const Json& tokenizer, const Json& model) {
  for (const char* part : {"pre_tokenizer", "post_processor", "decoder"}) {
    if (absl::Status known = CheckPart(tokenizer, part); !known.ok()) return known;
  }
  if (!Field(tokenizer, "normalizer").is_null()) {
    return Refuse(kTokenizerFile, "a normalizer is not supported");
  }
  const Json& pre_tokenizer = Field(tokenizer, "pre_tokenizer");
  if (pre_tokenizer.is_null() || Field(pre_tokenizer, "use_regex") == false) {
    return Refuse(kTokenizerFile, "pre_tokenizer does not split words; GPT-2's ByteLevel does");
  }
  if (!model.is_object() || (model.contains("type") && model["type"] != "BPE")) {
    return Refuse(kTokenizerFile, "model.type is not supported; only BPE is");
  }
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!Field(model, affix).is_null() && Field(model, affix) != "") {
      return Refuse(kTokenizerFile, absl::StrCat("model.", affix, " is not supported"));
    }
  }
  if (!Field(model, "dropout").is_null() && Field(model, "dropout") != 0.0) {
    return Refuse(kTokenizerFile, "model.dropout is not supported");
  }
  for (const char* flag : {"byte_fallback", "ignore_merges"}) {
    if (IsTrue(model, flag)) {
      return Refuse(kTokenizerFile, absl::StrCat("model.", flag, " is not supported"));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseTokenizer(const Json& tokenizer, TokenizerFiles* files) {
  const Json& model = Field(tokenizer, "model");
  if (absl::Status known = CheckTokenizer(tokenizer, model); !known.ok()) return known;
  absl::StatusOr<std::map<std::string, int32_t>> vocabulary =
      ParseVocabulary(kTokenizerFile, Field(model, "vocab"));
  if (!vocabulary.ok()) return vocabulary.status();
  files->vocabulary = *std::move(vocabulary);
  if (absl::Status read = ParseMerges(Field(model, "merges"), files); !read.ok()) return read;
  const Json& added = Field(tokenizer, "added_tokens");
  if (!added.is_null() && !added.is_array()) {
    return Refuse(kTokenizerFile, "added_tokens is not a list");
  }
  for (const Json& entry : added) {
    const Json& id = entry.is_object() ? Field(entry, "id") : entry;
    absl::Status parsed = ParseAddedToken(kTokenizerFile, entry, id, files);
    if (!parsed.ok()) return parsed;
  }
  return absl::OkStatus();
}

absl::Status ReadVocabAndMerges(const std::filesystem::path& dir, TokenizerFiles* files) {
  absl::StatusOr<Json> json = ReadObject(dir, kVocabFile);
  if (!json.ok()) return json.status();
  absl::StatusOr<std::map<std::string, int32_t>> vocabulary = ParseVocabulary(kVocabFile, *json);
  if (!vocabulary.ok()) return vocabulary.status();
  files->vocabulary = *std::move(vocabulary);
  if (absl::Status read = ReadMerges(dir, files); !read.ok()) return read;
  absl::StatusOr<Json> added = ReadOptionalObject(dir, kAddedFile);
  if (!added.ok()) return added.status();
  for (const auto& [content, id] : added->items()) {
    if (!IsTokenId(id)) return Refuse(kAddedFile, absl::StrCat(QuotedName(content), ": not an id"));
    absl::Status known = AddToken(kAddedFile, {content, id.get<int32_t>(), true}, files);
    if (!known.ok()) return known;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::filesystem::path& dir) {
  TokenizerFiles files;
  absl::StatusOr<Json> tokenizer = ReadObject(dir, kTokenizerFile);
  if (!tokenizer.ok() && !absl::IsNotFound(tokenizer.status())) return tokenizer.status();
  absl::Status read =
      tokenizer.ok() ? ParseTokenizer(*tokenizer, &files) : ReadVocabAndMerges(dir, &files);
  if (absl::IsNotFound(read)) {
    return absl::NotFoundError(absl::StrCat("the model folder has neither ", kTokenizerFile,
                                            " nor both ", kVocabFile, " and ", kMergesFile,
                                            "; without them only token ids work, not text"));
  }
  if (!read.ok()) return read;

  Json config;
  if (read = ReadConfig(dir, &files, &config); !read.ok()) return read;
  absl::StatusOr<Json> special = ReadOptionalObject(dir, kSpecialMapFile);
  if (!special.ok()) return special.status();
  // GPT2TokenizerFast's own defaults, where the files name no other token.
  const Json defaults = {{"bos_token", "<|endoftext|>"}};
  if (read = AddSpecialTokens(kConfigFile, config, &files); !read.ok()) return read;
  if (read = AddSpecialTokens(kSpecialMapFile, *special, &files); !read.ok()) return read;
  if (read = AddSpecialTokens(kVocabFile, defaults, &files); !read.ok()) return read;
  return files;
}

}  // namespace scalpel::model
