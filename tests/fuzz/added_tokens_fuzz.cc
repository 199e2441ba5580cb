// Fuzzes the reading and finding of added tokens. The input is a JSON object with the files of a
// folder under "config", "map", "added" and "tokenizer", and a text that is then cut at the tokens:
// the pieces, one after the other, are the text.

#include <string>

#include "server/base/json.h"
#include "server/model/added_tokens.h"
#include "server/model/special_tokens.h"
#include "server/model/tokenizer_json.h"
#include "tests/fuzz/fuzz.h"

namespace {

using Json = nlohmann::json;
using scalpel::model::AddedTokens;
using scalpel::model::Field;
using scalpel::model::TextPiece;

Json File(const Json& input, const char* name) {
  const Json& file = Field(input, name);
  return file.is_object() ? file : Json::object();
}

void Check(const AddedTokens& added, std::string_view text) {
  const auto pieces = added.Split(text);
  HOLDS(pieces.ok());
  size_t end = 0;
  for (const TextPiece& piece : *pieces) {
    HOLDS(!piece.text.empty() && piece.text.data() == text.data() + end);
    end += piece.text.size();
    if (!piece.id) continue;
    HOLDS(added.by_id().contains(*piece.id));
    HOLDS(piece.text.find(added.by_id().at(*piece.id).content) != std::string_view::npos);
  }
  HOLDS(end == text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto input = scalpel::ParseJson(scalpel::fuzz::Text(data, size));
  if (!input.ok()) {
    scalpel::fuzz::HoldsForMessage(input.status());
    return 0;
  }
  const scalpel::model::Vocabulary vocabulary = {{"a", 0}, {"b", 1}, {"ab", 2}, {"<x>", 3}};
  const auto added = scalpel::model::ReadAddedTokens({.tokenizer_config = File(*input, "config"),
                                                      .special_tokens_map = File(*input, "map"),
                                                      .added_tokens = File(*input, "added"),
                                                      .tokenizer = File(*input, "tokenizer")},
                                                     vocabulary);
  if (!added.ok()) {
    scalpel::fuzz::HoldsForMessage(added.status());
    return 0;
  }
  const Json& text = Field(*input, "text");
  if (text.is_string()) Check(*added, text.get_ref<const std::string&>());
  return 0;
}
