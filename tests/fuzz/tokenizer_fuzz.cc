// Fuzzes the reading of a tokenizer's folder. The input is a JSON object from the files' names to
// their contents (a string is written as it is, so that a file need not be JSON), with a "text".
// What loads encodes the text or refuses it, and decoding gives the text back.

#include <algorithm>
#include <string>
#include <vector>

#include "server/base/json.h"
#include "server/model/tokenizer.h"
#include "server/model/tokenizer_files.h"
#include "server/model/tokenizer_json.h"
#include "tests/fuzz/fuzz.h"

namespace {

using Json = nlohmann::json;
using scalpel::model::Tokenizer;

void WriteFiles(const Json& input, const scalpel::fuzz::Folder& folder) {
  for (const char* name :
       {scalpel::model::kTokenizerFile, scalpel::model::kVocabFile, scalpel::model::kMergesFile,
        scalpel::model::kTokenizerConfigFile, scalpel::model::kSpecialTokensMapFile,
        scalpel::model::kAddedTokensFile}) {
    const Json& file = scalpel::model::Field(input, name);
    if (file.is_null())
      folder.Remove(name);
    else
      folder.Write(name, file.is_string() ? file.get<std::string>() : file.dump());
  }
}

// Whether no space is added to a text. A token that takes the white space beside it loses it.
bool Keeps(const std::filesystem::path& folder) {
  const auto files = scalpel::model::ReadTokenizerFiles(folder);
  HOLDS(files.ok());
  const auto& added = files->added.by_id();
  return !files->add_prefix_space && std::none_of(added.begin(), added.end(), [](const auto& each) {
    return each.second.lstrip || each.second.rstrip;
  });
}

void Check(const Tokenizer& tokenizer, const std::string& text, bool keeps) {
  const auto ids = tokenizer.Encode(text, 2 * text.size());
  if (!ids.ok()) return scalpel::fuzz::HoldsForMessage(ids.status());
  for (const int32_t id : *ids) {
    HOLDS(id >= 0 && id < tokenizer.vocab_size());
    HOLDS(scalpel::fuzz::IsUtf8(tokenizer.TokenText(id)));
  }
  const auto decoded = tokenizer.Decode(*ids);
  HOLDS(decoded.ok());
  HOLDS(!keeps || *decoded == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* folder = new scalpel::fuzz::Folder;
  const auto input = scalpel::ParseJson(scalpel::fuzz::Text(data, size));
  if (!input.ok() || !input->is_object()) return 0;
  WriteFiles(*input, *folder);
  const auto tokenizer = Tokenizer::Load(folder->path());
  if (!tokenizer.ok()) {
    HOLDS(absl::IsInvalidArgument(tokenizer.status()) || absl::IsNotFound(tokenizer.status()));
    scalpel::fuzz::HoldsForMessage(tokenizer.status());
    return 0;
  }
  const Json& text = scalpel::model::Field(*input, "text");
  if (text.is_string()) Check(*tokenizer, text.get<std::string>(), Keeps(folder->path()));
  return 0;
}
