#include "server/model/tokenizer_json.h"

#include "absl/strings/str_cat.h"

namespace scalpel::model {

absl::Status RefuseFile(absl::string_view file, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": ", problem));
}

const nlohmann::json& Field(const nlohmann::json& object, const char* name) {
  static const nlohmann::json kNull;
  if (!object.is_object()) return kNull;
  const auto field = object.find(name);
  return field == object.end() ? kNull : *field;
}

bool IsTrue(const nlohmann::json& object, const char* name) { return Field(object, name) == true; }

bool IsTokenId(const nlohmann::json& value) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= uint64_t{kTokenIdMax};
}

}  // namespace scalpel::model
