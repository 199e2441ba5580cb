#include "server/base/json.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/base/utf8.h"

namespace scalpel {
namespace {

using Json = nlohmann::json;

constexpr size_t kQuotedBytesMax = 120;

// Builds the value from the parser's events, so that parsing stops as soon as a limit is exceeded.
// The library's own builder keeps the last of duplicate keys and does not limit nesting.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override {
    return Add(value) != nullptr;
  }
  bool string(string_t& value) override { return Add(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return Fail("binary values are not JSON"); }
  bool start_object(size_t) override { return Open(Json::object()); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (!Count()) return false;
    auto [entry, inserted] = open_.back()->get_ref<Json::object_t&>().emplace(name, nullptr);
    if (!inserted) return Fail(absl::StrCat("duplicate key ", QuotedName(name)));
    slot_ = &entry->second;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const Json::exception&) override {
    return Fail(absl::StrCat("not valid JSON near byte ", position));
  }

  const std::string& error() const { return error_; }
  Json TakeRoot() { return std::move(root_); }

 private:
  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  bool Count() {
    if (++count_ <= limits_.values_max) return true;
    return Fail(absl::StrCat("more than ", limits_.values_max, " JSON values"));
  }

  // Stores a value at the parser's position: as the root, at the end of the innermost array, or
  // under the key just read. Returns where it is stored, or null if a limit is exceeded.
  Json* Add(Json value) {
    if (!Count()) return nullptr;
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool Open(Json container) {
    if (open_.size() >= limits_.depth_max) {
      return Fail(absl::StrCat("JSON nested deeper than ", limits_.depth_max, " levels"));
    }
    Json* added = Add(std::move(container));
    if (added == nullptr) return false;
    open_.push_back(added);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  const JsonLimits limits_;
  Json root_;
  // The open containers, outermost first. The pointers stay valid because only the innermost
  // container grows.
  std::vector<Json*> open_;
  Json* slot_ = nullptr;  // where the value of the key just read is stored
  size_t count_ = 0;
  std::string error_;
};

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  // The library's lexer treats a NUL as the end of the text and would ignore everything after it.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("not valid JSON: a NUL at byte ", nul));
  }
  Builder builder(limits);
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::InvalidArgumentError(builder.error());
  }
  return builder.TakeRoot();
}

std::string QuotedName(absl::string_view name) {
  const bool is_long = name.size() > kQuotedBytesMax;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(Beginning(name, kQuotedBytesMax)),
                      is_long ? "...\"" : "\"");
}

}  // namespace scalpel
