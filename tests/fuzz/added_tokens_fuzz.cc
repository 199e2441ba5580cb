// Fuzzes the reading and finding of added tokens with libFuzzer. The input is a JSON object with
// the files of a folder under "config", "map", "added" and "tokenizer", and a text that is then cut
// at the tokens.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/base/json.h"
#include "server/model/added_tokens.h"
#include "server/model/special_tokens.h"
#include "server/model/tokenizer_json.h"
#include "server/model/unicode.h"

namespace {

using Json = nlohmann::json;
using scalpel::model::AddedTokens;
using scalpel::model::Field;
using scalpel::model::TextPiece;

Json File(const Json& input, const char* name) {
  const Json& file = Field(input, name);
  return file.is_object() ? file : Json::object();
}

// Checks the promises of AddedTokens::Split.
void Check(const AddedTokens& added, std::string_view text) {
  const auto pieces = added.Split(text);
  if (!pieces.ok()) std::abort();
  for (const TextPiece& piece : *pieces) {
    if (piece.text.data() < text.data() ||
        piece.text.data() + piece.text.size() > text.data() + text.size()) {
      std::abort();
    }
    if (piece.text.empty()) std::abort();
    if (piece.id && !added.by_id().contains(*piece.id)) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input =
      scalpel::ParseJson(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!input.ok()) return 0;
  const scalpel::model::Vocabulary vocabulary = {{"a", 0}, {"b", 1}, {"ab", 2}, {"<x>", 3}};
  const auto added = scalpel::model::ReadAddedTokens({.tokenizer_config = File(*input, "config"),
                                                      .special_tokens_map = File(*input, "map"),
                                                      .added_tokens = File(*input, "added"),
                                                      .tokenizer = File(*input, "tokenizer")},
                                                     vocabulary);
  const Json& text = Field(*input, "text");
  if (added.ok() && text.is_string()) Check(*added, text.get_ref<const std::string&>());
  return 0;
}
