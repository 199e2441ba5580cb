// The grammar of one-line specs, such as `K:layer=5,head=1,3`. This file knows only the syntax:
// spec_request.h interprets the words, and the server checks whether they make sense.
//
//   spec  = place [ ":" item { "," item } ]
//   place = name [ ":input" | ":output" ]
//   item  = key "=" value { "," value } | word
//   value = number | range | text
//
// A name consists of letters, digits, `_` and `.`; it may be empty before :input and :output. A
// word is, for example, `std`, `before` or `per_head`. After a comma, a value that does not start
// with a letter continues the list. A range is start:end:step as in Python, and each part may be
// left out.

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

// A piece of a spec, and its offset there in bytes.
struct Atom {
  std::string text;
  size_t at = 0;
};

// `key=value,value`, or a word, which has no values.
struct Field {
  Atom key;
  std::vector<Atom> values;

  bool is_word() const { return values.empty(); }
};

// A parsed spec. No key and no word occurs twice, but a word may equal a key: both `min` and
// `min=0` may occur.
struct Spec {
  std::string flag;  // such as `--zero`, for errors
  std::string text;
  Atom place;
  std::vector<Field> fields;
};

// `start:end:step`; a part that was left out is nullopt.
struct SpecRange {
  std::optional<int64_t> start;
  std::optional<int64_t> end;
  std::optional<int64_t> step;
};

// Parses `text`, the value of `flag`. An error, here and below, is INVALID_ARGUMENT; its message
// shows the text with a mark under the wrong character, and the remedy.
absl::StatusOr<Spec> ParseSpec(absl::string_view flag, absl::string_view text);

// Parses a list such as `1,2,3`, the value of `flag`. Returns a spec without a place, and with one
// field, without a key, that holds the values.
absl::StatusOr<Spec> ParseList(absl::string_view flag, absl::string_view text);

// Returns an error with `message` and a mark under byte `at` of the spec.
absl::Status SpecError(const Spec& spec, size_t at, absl::string_view message);

// Parse an atom as an integer, a number or a range.
absl::StatusOr<int64_t> IntegerOf(const Spec& spec, const Atom& atom);
absl::StatusOr<double> NumberOf(const Spec& spec, const Atom& atom);
bool IsRange(const Atom& atom);
absl::StatusOr<SpecRange> RangeOf(const Spec& spec, const Atom& atom);

// Returns the values as integers, with ranges expanded. A range without an end is an error, because
// the end would depend on the model.
absl::StatusOr<std::vector<int64_t>> IntegersOf(const Spec& spec, const std::vector<Atom>& values);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SPEC_GRAMMAR_H_
