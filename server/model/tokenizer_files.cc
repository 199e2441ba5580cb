#include "server/model/tokenizer_files.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <set>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/base/json.h"
#include "server/model/model_file.h"
#include "server/model/special_tokens.h"
#include "server/model/tokenizer_json.h"

namespace scalpel::model {
namespace {

using Json = nlohmann::json;

constexpr char kModelConfigFile[] = "config.json";
constexpr int64_t kFileBytesMax = int64_t{256} << 20;
constexpr JsonLimits kLimits{/*depth_max=*/16, /*values_max=*/20'000'000};

// The tokenizer classes that tokenizer_config.json or config.json may name. The plain ones need
// tokenizer.json.
constexpr std::array<const char*, 2> kGpt2Classes = {"GPT2Tokenizer", "GPT2TokenizerFast"};
constexpr std::array<const char*, 3> kPlainClasses = {"PreTrainedTokenizerFast",
                                                      "PreTrainedTokenizer", "TokenizersBackend"};

// Reads a file that is a JSON object. NOT_FOUND if there is no such file.
absl::StatusOr<Json> ReadObject(const std::filesystem::path& dir, const char* file) {
  absl::StatusOr<std::string> text = ReadModelFile(dir, file, kFileBytesMax);
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> json = ParseJson(*text, kLimits);
  if (!json.ok()) return RefuseFile(file, json.status().message());
  if (!json->is_object()) return RefuseFile(file, "not a JSON object");
  return json;
}

// As ReadObject, but returns an empty object if there is no such file.
absl::StatusOr<Json> ReadOptionalObject(const std::filesystem::path& dir, const char* file) {
  absl::StatusOr<Json> json = ReadObject(dir, file);
  if (absl::IsNotFound(json.status())) return Json::object();
  return json;
}

absl::StatusOr<Vocabulary> ParseVocabulary(const char* file, const Json& object) {
  if (!object.is_object()) return RefuseFile(file, "the vocabulary is not an object");
  if (object.empty()) return RefuseFile(file, "the vocabulary is empty");
  Vocabulary vocabulary;
  std::set<int32_t> ids;
  for (const auto& [token, id] : object.items()) {
    if (!IsTokenId(id)) {
      return RefuseFile(file, absl::StrCat("token ", QuotedName(token),
                                           ": its id is not an integer in "
                                           "[0, ",
                                           kTokenIdMax, "]"));
    }
    if (!ids.insert(id.get<int32_t>()).second) {
      return RefuseFile(file, absl::StrCat("token ", QuotedName(token), ": its id ",
                                           id.get<int32_t>(), " is another token's too"));
    }
    vocabulary.emplace(token, id.get<int32_t>());
  }
  return vocabulary;
}

// Splits "a b" at its only space. Returns false if `line` does not have this form.
bool SplitMerge(absl::string_view line, std::pair<std::string, std::string>* merge) {
  const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ');
  if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) return false;
  *merge = {std::string(parts[0]), std::string(parts[1])};
  return true;
}

// Reads merges.txt: a line "#version: ...", then lines "a b". transformers silently drops the first
// line and what follows the last newline, whatever they are; here it is an error if they might be
// merges. A repeated merge has the rank of its first occurrence.
absl::Status ReadMerges(const std::filesystem::path& dir, TokenizerFiles* files) {
  absl::StatusOr<std::string> text = ReadModelFile(dir, kMergesFile, kFileBytesMax);
  if (!text.ok()) return text.status();
  if (text->rfind("#version", 0) != 0)
    return RefuseFile(kMergesFile, "line 1 is not \"#version: ...\"");
  if (text->back() != '\n') return RefuseFile(kMergesFile, "does not end with a newline");
  const std::vector<absl::string_view> lines = absl::StrSplit(*text, '\n');
  std::set<std::pair<std::string, std::string>> known;
  for (size_t i = 1; i + 1 < lines.size(); ++i) {
    absl::string_view line = lines[i];
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    std::pair<std::string, std::string> merge;
    if (!SplitMerge(line, &merge)) {
      return RefuseFile(kMergesFile,
                        absl::StrCat("line ", i + 1, " is not two tokens and a space"));
    }
    if (known.insert(merge).second) files->merges.push_back(std::move(merge));
  }
  return absl::OkStatus();
}

// Reads the merges of tokenizer.json: "a b", or ["a", "b"] as newer versions write them.
absl::Status ParseMerges(const Json& merges, TokenizerFiles* files) {
  if (!merges.is_array()) return RefuseFile(kTokenizerFile, "model.merges is not a list");
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json& entry = merges[i];
    std::pair<std::string, std::string>& merge = files->merges.emplace_back();
    if (entry.is_string() && SplitMerge(entry.get_ref<const std::string&>(), &merge)) continue;
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      merge = {entry[0].get<std::string>(), entry[1].get<std::string>()};
      continue;
    }
    return RefuseFile(kTokenizerFile, absl::StrCat("model.merges[", i, "] is not two tokens"));
  }
  return absl::OkStatus();
}

// Returns whether a post-processor leaves the ids as they are. ByteLevel changes only offsets; a
// template may consist of the text alone, which is what transformers 5 writes if no token is added.
bool LeavesIds(const Json& processor) {
  const Json& type = Field(processor, "type");
  if (type == "ByteLevel") return true;
  if (type == "TemplateProcessing") {
    const Json& single = Field(processor, "single");
    return single.is_array() && single.size() == 1 &&
           Field(Field(single[0], "Sequence"), "id") == "A";
  }
  const Json& parts = Field(processor, "processors");
  return type == "Sequence" && parts.is_array() &&
         std::all_of(parts.begin(), parts.end(), LeavesIds);
}

std::string TypeText(const Json& part) {
  const Json& type = part.is_object() ? Field(part, "type") : part;
  return type.is_string() ? QuotedName(type.get<std::string>()) : "unknown";
}

absl::Status CheckPostProcessor(const Json& processor) {
  if (processor.is_null() || LeavesIds(processor)) return absl::OkStatus();
  const Json& type = Field(processor, "type");
  const bool known = type == "TemplateProcessing" || type == "Sequence";
  return RefuseFile(kTokenizerFile,
                    absl::StrCat("post_processor of type ", TypeText(processor),
                                 known ? " adds tokens to the text, which is not supported"
                                       : " is not supported"));
}

absl::Status CheckPart(const Json& tokenizer, const char* part) {
  const Json& value = Field(tokenizer, part);
  if (value.is_null() || Field(value, "type") == "ByteLevel") return absl::OkStatus();
  return RefuseFile(kTokenizerFile, absl::StrCat(part, " of type ", TypeText(value),
                                                 " is not supported; only ByteLevel is"));
}

// Refuses a tokenizer.json whose parts are not those of GPT-2. Ignores
// pre_tokenizer.add_prefix_space, which transformers 4.57 replaces by that of
// tokenizer_config.json, or by false.
absl::Status CheckTokenizer(const Json& tokenizer, const Json& model) {
  if (tokenizer.contains("version") && tokenizer["version"] != "1.0") {
    return RefuseFile(kTokenizerFile, "version is not \"1.0\"");
  }
  for (const char* part : {"pre_tokenizer", "decoder"}) {
    if (absl::Status known = CheckPart(tokenizer, part); !known.ok()) return known;
  }
  absl::Status processor = CheckPostProcessor(Field(tokenizer, "post_processor"));
  if (!processor.ok()) return processor;
  if (!Field(tokenizer, "normalizer").is_null()) {
    return RefuseFile(kTokenizerFile, "a normalizer is not supported");
  }
  const Json& pre_tokenizer = Field(tokenizer, "pre_tokenizer");
  if (pre_tokenizer.is_null() || Field(pre_tokenizer, "use_regex") == false) {
    return RefuseFile(kTokenizerFile, "pre_tokenizer does not split words; GPT-2's ByteLevel does");
  }
  if (!model.is_object() || (model.contains("type") && model["type"] != "BPE")) {
    return RefuseFile(kTokenizerFile, "model.type is not supported; only BPE is");
  }
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!Field(model, affix).is_null() && Field(model, affix) != "") {
      return RefuseFile(kTokenizerFile, absl::StrCat("model.", affix, " is not supported"));
    }
  }
  if (!Field(model, "dropout").is_null() && Field(model, "dropout") != 0.0) {
    return RefuseFile(kTokenizerFile, "model.dropout is not supported");
  }
  for (const char* flag : {"byte_fallback", "ignore_merges"}) {
    if (IsTrue(model, flag)) {
      return RefuseFile(kTokenizerFile, absl::StrCat("model.", flag, " is not supported"));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseTokenizer(const Json& tokenizer, TokenizerFiles* files) {
  const Json& model = Field(tokenizer, "model");
  if (absl::Status known = CheckTokenizer(tokenizer, model); !known.ok()) return known;
  absl::StatusOr<Vocabulary> vocabulary = ParseVocabulary(kTokenizerFile, Field(model, "vocab"));
  if (!vocabulary.ok()) return vocabulary.status();
  files->vocabulary = *std::move(vocabulary);
  return ParseMerges(Field(model, "merges"), files);
}

absl::Status ReadVocabAndMerges(const std::filesystem::path& dir, TokenizerFiles* files) {
  absl::StatusOr<Json> json = ReadObject(dir, kVocabFile);
  if (!json.ok()) return json.status();
  absl::StatusOr<Vocabulary> vocabulary = ParseVocabulary(kVocabFile, *json);
  if (!vocabulary.ok()) return vocabulary.status();
  files->vocabulary = *std::move(vocabulary);
  return ReadMerges(dir, files);
}

// Returns whether transformers would make a GPT2Tokenizer. Its class is named by
// tokenizer_config.json, else by config.json, and else is GPT-2's.
absl::StatusOr<bool> IsGpt2Class(const std::filesystem::path& dir, const TokenFiles& files) {
  const char* file = kTokenizerConfigFile;
  Json name = Field(files.tokenizer_config, "tokenizer_class");
  if (name.is_null()) {
    absl::StatusOr<Json> model = ReadOptionalObject(dir, kModelConfigFile);
    if (!model.ok()) return model.status();
    file = kModelConfigFile;
    name = Field(*model, "tokenizer_class");
  }
  if (name.is_null()) return true;
  const auto is_name = [&name](const char* known) { return name == known; };
  if (std::any_of(kGpt2Classes.begin(), kGpt2Classes.end(), is_name)) return true;
  const std::string text = name.is_string() ? QuotedName(name.get<std::string>()) : name.dump();
  if (std::none_of(kPlainClasses.begin(), kPlainClasses.end(), is_name)) {
    return RefuseFile(file, absl::StrCat("tokenizer_class ", text,
                                         " is not supported; GPT2Tokenizer and "
                                         "PreTrainedTokenizerFast are"));
  }
  if (!files.tokenizer.empty()) return false;
  return RefuseFile(file, absl::StrCat("tokenizer_class ", text, " needs ", kTokenizerFile,
                                       ", which is not in the folder"));
}

// Reads the fields of tokenizer_config.json that are not tokens. add_bos_token and add_eos_token
// have no effect if there is a tokenizer.json, whose post-processor decides.
absl::Status ReadConfig(const TokenFiles& files, TokenizerFiles* result) {
  const Json& config = files.tokenizer_config;
  for (const char* flag : {"add_bos_token", "add_eos_token"}) {
    if (!files.tokenizer.empty() || !IsTrue(config, flag)) continue;
    return RefuseFile(kTokenizerConfigFile,
                      absl::StrCat(flag, " is not supported; give the token in the text"));
  }
  for (const char* name : {"tokenizer_file", "vocab_file", "merges_file"}) {
    if (!config.contains(name)) continue;
    return RefuseFile(kTokenizerConfigFile,
                      absl::StrCat(name, " names a file beside the folder's own; remove it"));
  }
  for (const Json& file : Field(config, "fast_tokenizer_files")) {
    if (file == kTokenizerFile) continue;
    return RefuseFile(kTokenizerConfigFile,
                      "fast_tokenizer_files names a file other than tokenizer.json; remove it");
  }
  const Json& space = Field(config, "add_prefix_space");
  if (!config.contains("add_prefix_space") || space.is_boolean()) {
    result->add_prefix_space = space == true;
    return absl::OkStatus();
  }
  return RefuseFile(kTokenizerConfigFile, "add_prefix_space is not true or false");
}

// Reads tokenizer.json if it exists, else vocab.json and merges.txt.
absl::Status ReadVocabulary(const std::filesystem::path& dir, TokenFiles* files,
                            TokenizerFiles* result) {
  files->tokenizer = Json::object();
  absl::StatusOr<Json> tokenizer = ReadObject(dir, kTokenizerFile);
  if (tokenizer.ok()) {
    files->tokenizer = *std::move(tokenizer);
    return ParseTokenizer(files->tokenizer, result);
  }
  if (!absl::IsNotFound(tokenizer.status())) return tokenizer.status();
  absl::Status read = ReadVocabAndMerges(dir, result);
  if (!absl::IsNotFound(read)) return read;
  for (const char* file : {kVocabFile, kMergesFile}) {
    if (absl::IsNotFound(OpenModelFile(dir, file).status())) continue;
    return RefuseFile(file,
                      absl::StrCat("there is no ", file == kVocabFile ? kMergesFile : kVocabFile,
                                   " beside it, and no ", kTokenizerFile));
  }
  return absl::NotFoundError("the model's folder has no tokenizer");
}

}  // namespace

absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::filesystem::path& dir) {
  absl::StatusOr<AddedTokens> none = AddedTokens::Make();
  if (!none.ok()) return none.status();
  TokenizerFiles result{.vocabulary = {}, .merges = {}, .added = *std::move(none)};
  TokenFiles files;
  if (absl::Status read = ReadVocabulary(dir, &files, &result); !read.ok()) return read;
  for (const auto& [file, json] : std::initializer_list<std::pair<const char*, Json*>>{
           {kTokenizerConfigFile, &files.tokenizer_config},
           {kSpecialTokensMapFile, &files.special_tokens_map},
           {kAddedTokensFile, &files.added_tokens}}) {
    absl::StatusOr<Json> read = ReadOptionalObject(dir, file);
    if (!read.ok()) return read.status();
    *json = *std::move(read);
  }
  if (absl::Status read = ReadConfig(files, &result); !read.ok()) return read;
  const absl::StatusOr<bool> is_gpt2 = IsGpt2Class(dir, files);
  if (!is_gpt2.ok()) return is_gpt2.status();
  files.is_gpt2_class = *is_gpt2;
  absl::StatusOr<AddedTokens> added = ReadAddedTokens(files, result.vocabulary);
  if (!added.ok()) return added.status();
  result.added = *std::move(added);
  return result;
}

}  // namespace scalpel::model
