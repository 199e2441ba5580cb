// The grammar of one-line specs, such as `K:layer=5,head=1,3`. Only syntax lives here; what the
// words mean is spec_request.h's matter, and whether they make sense is the server's.
//
//   spec   = place [ ":" item { "," item } ]
//   place  = name [ ":input" | ":output" ]       name: letters, digits, `_`, `.`; may be empty
//   before :input and :output item   = key "=" value { "," value }         a comma before a value
//   that starts with no letter continues the list
//          | word                                such as `std`, `before`, `per_head`
//   value  = number | range | text               range: start:end:step as in Python, each part may
//   be absent

#ifndef SCALPEL_CLIENT_CPP_SPEC_GRAMMAR_H_
#define SCALPEL_CLIENT_CPP_SPEC_GRAMMAR_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace scalpel::client {

// A piece of a spec and where it stands in it, in bytes.
struct Atom {
  std::string text;
  size_t at = 0;
};

// `key=value,value`, or a word: then there are no values.
struct Field {
  Atom key;
  std::vector<Atom> values;

  bool is_word() const { return values.empty(); }
};

// A spec as it was written. Keys are unique, and so are words; `min` and `min=0` may stand side by
// side.
struct Spec {
  std::string flag;  // `--zero`; for errors
  std::string text;
  Atom place;
  std::vector<Field> fields;
};

// `start:end:step`.
struct SpecRange {
  std::optional<int64_t> start;
  std::optional<int64_t> end;
  std::optional<int64_t> step;
};

// Parses `text`, the value of `flag`. An error shows the text with a mark under the wrong
// character, and the remedy.
absl::StatusOr<Spec> ParseSpec(absl::string_view flag, absl::string_view text);

// `1,2,3`, the value of `flag`: a spec without a place whose one field, without a key, holds the
// values.
absl::StatusOr<Spec> ParseList(absl::string_view flag, absl::string_view text);

// The error `message` at the byte `at` of the spec.
absl::Status SpecError(const Spec& spec, size_t at, absl::string_view message);

// The atom as a number of its kind.
absl::StatusOr<int64_t> IntegerOf(const Spec& spec, const Atom& atom);
absl::StatusOr<double> NumberOf(const Spec& spec, const Atom& atom);
bool IsRange(const Atom& atom);
absl::StatusOr<SpecRange> RangeOf(const Spec& spec, const Atom& atom);

// The values as single integers, ranges unfolded. An open end is an error: it would need the
// model's size.
absl::StatusOr<std::vector<int64_t>> IntegersOf(const Spec& spec, const std::vector<Atom>& values);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SPEC_GRAMMAR_H_
