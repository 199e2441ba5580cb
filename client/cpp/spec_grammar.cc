#include "client/cpp/spec_grammar.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cpp/text.h"

namespace scalpel::client {
namespace {

constexpr size_t kSpecBytesMax = 64 << 10;
constexpr int64_t kUnfoldedMax = 65536;

bool IsNameByte(char c) { return absl::ascii_isalnum(c) || c == '_' || c == '.'; }

bool IsKey(absl::string_view text) {
  return !text.empty() && absl::ascii_isalpha(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

// Parses the place at the start of the spec, and returns the offset where it ends.
absl::StatusOr<size_t> ParsePlace(Spec& spec) {
  const std::string& text = spec.text;
  const auto ends_at = [&text](size_t at) { return at == text.size() || text[at] == ':'; };
  size_t end = 0;
  while (end < text.size() && IsNameByte(text[end])) ++end;
  for (const absl::string_view side : {":input", ":output"}) {
    if (absl::string_view(text).substr(end, side.size()) == side && ends_at(end + side.size())) {
      end += side.size();
      break;
    }
  }
  if (end == 0) {
    return SpecError(spec, 0, "a place is missing; start with a site, such as resid_post or K");
  }
  if (!ends_at(end)) {
    const std::string found = Printable(text.substr(end, 1));
    return SpecError(
        spec, end,
        absl::StrCat("`", found, "` cannot stand in a place; write PLACE:layer=5,head=2"));
  }
  spec.place = {text.substr(0, end), 0};
  return end;
}

// Parses a piece between commas: a word, `key=value`, or another value of the previous field.
absl::Status ParseItem(Spec& spec, absl::string_view piece, size_t at) {
  if (piece.empty()) {
    return SpecError(spec, at, "something is missing here; write key=value or remove the comma");
  }
  const size_t equals = piece.find('=');
  if (equals == absl::string_view::npos && !absl::ascii_isalpha(piece[0])) {
    if (spec.fields.empty() || spec.fields.back().is_word()) {
      return SpecError(spec, at, "a value needs a key before it; write layer=5");
    }
    spec.fields.back().values.push_back({std::string(piece), at});
    return absl::OkStatus();
  }
  const absl::string_view key = absl::StripAsciiWhitespace(piece.substr(0, equals));
  if (!IsKey(key)) return SpecError(spec, at, "a key is letters, digits and `_`; write layer=5");
  const bool is_word = equals == absl::string_view::npos;
  for (const Field& field : spec.fields) {
    if (field.key.text == key && field.is_word() == is_word) {
      return SpecError(
          spec, at,
          absl::StrCat("`", key, "` is given twice; remove one, or list values as layer=1,3"));
    }
  }
  Field field{{std::string(key), at}, {}};
  if (!is_word) {
    const absl::string_view value = absl::StripAsciiWhitespace(piece.substr(equals + 1));
    const size_t value_at = at + equals + 1;
    if (value.empty()) {
      return SpecError(spec, value_at, absl::StrCat("a value is missing; write ", key, "=5"));
    }
    field.values.push_back({std::string(value), value_at});
  }
  spec.fields.push_back(std::move(field));
  return absl::OkStatus();
}

// Splits the text from `at` on at commas, and strips the spaces around each piece.
std::vector<Atom> Pieces(absl::string_view text, size_t at) {
  std::vector<Atom> pieces;
  for (const absl::string_view piece : absl::StrSplit(text.substr(at), ',')) {
    const absl::string_view trimmed = absl::StripAsciiWhitespace(piece);
    const size_t lead = trimmed.empty() ? 0 : trimmed.data() - piece.data();
    pieces.push_back({std::string(trimmed), at + lead});
    at += piece.size() + 1;
  }
  return pieces;
}

absl::Status TooLong(absl::string_view flag) {
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": at most ", kSpecBytesMax, " bytes; put a longer one into a JSON file"));
}

}  // namespace

absl::Status SpecError(const Spec& spec, size_t at, absl::string_view message) {
  const std::string before = Printable(absl::StrCat(spec.flag, " ", spec.text.substr(0, at)));
  return absl::InvalidArgumentError(absl::StrCat(before, Printable(spec.text.substr(at)), "\n",
                                                 std::string(Columns(before), ' '), "^ ", message));
}

absl::StatusOr<Spec> ParseSpec(absl::string_view flag, absl::string_view text) {
  if (text.size() > kSpecBytesMax) return TooLong(flag);
  Spec spec{std::string(flag), std::string(text), {}, {}};
  const absl::StatusOr<size_t> place_end = ParsePlace(spec);
  if (!place_end.ok()) return place_end.status();
  if (*place_end == text.size()) return spec;
  size_t at = *place_end + 1;
  for (const Atom& piece : Pieces(text, at)) {
    if (const absl::Status status = ParseItem(spec, piece.text, piece.at); !status.ok()) {
      return status;
    }
  }
  return spec;
}

absl::StatusOr<Spec> ParseList(absl::string_view flag, absl::string_view text) {
  if (text.size() > kSpecBytesMax) return TooLong(flag);
  Spec spec{std::string(flag), std::string(text), {}, {Field{}}};
  spec.fields[0].values = Pieces(text, 0);
  for (const Atom& value : spec.fields[0].values) {
    if (value.text.empty()) {
      return SpecError(spec, value.at, "a number is missing; write a list as 1,3");
    }
  }
  return spec;
}

absl::StatusOr<int64_t> IntegerOf(const Spec& spec, const Atom& atom) {
  int64_t value;
  if (absl::SimpleAtoi(atom.text, &value)) return value;
  return SpecError(
      spec, atom.at,
      absl::StrCat("`", Printable(atom.text), "` is not an integer; write one such as 5"));
}

absl::StatusOr<double> NumberOf(const Spec& spec, const Atom& atom) {
  double value;
  if (absl::SimpleAtod(atom.text, &value)) return value;
  return SpecError(
      spec, atom.at,
      absl::StrCat("`", Printable(atom.text), "` is not a number; write one such as 0.1"));
}

bool IsRange(const Atom& atom) { return absl::StrContains(atom.text, ':'); }

absl::StatusOr<SpecRange> RangeOf(const Spec& spec, const Atom& atom) {
  const std::vector<std::string> parts = absl::StrSplit(atom.text, ':');
  if (parts.size() < 2 || parts.size() > 3) {
    return SpecError(spec, atom.at,
                     "a range is start:end or start:end:step; each part may be left out");
  }
  SpecRange range;
  std::optional<int64_t>* const bounds[] = {&range.start, &range.end, &range.step};
  size_t at = atom.at;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!parts[i].empty()) {
      const absl::StatusOr<int64_t> bound = IntegerOf(spec, {parts[i], at});
      if (!bound.ok()) return bound.status();
      *bounds[i] = *bound;
    }
    at += parts[i].size() + 1;
  }
  return range;
}

absl::StatusOr<std::vector<int64_t>> IntegersOf(const Spec& spec, const std::vector<Atom>& values) {
  std::vector<int64_t> integers;
  for (const Atom& atom : values) {
    if (!IsRange(atom)) {
      const absl::StatusOr<int64_t> integer = IntegerOf(spec, atom);
      if (!integer.ok()) return integer.status();
      integers.push_back(*integer);
      continue;
    }
    const absl::StatusOr<SpecRange> range = RangeOf(spec, atom);
    if (!range.ok()) return range.status();
    const int64_t start = range->start.value_or(0);
    const int64_t step = range->step.value_or(1);
    if (!range->end.has_value() || start < 0 || *range->end <= start || step < 1 ||
        *range->end > kUnfoldedMax) {
      return SpecError(spec, atom.at,
                       absl::StrCat("a range in a list needs an end, as 3:9: 0 <= start < end <= ",
                                    kUnfoldedMax, " and step >= 1"));
    }
    for (int64_t i = start; i < *range->end; i += step) integers.push_back(i);
    if (static_cast<int64_t>(integers.size()) > kUnfoldedMax) {
      return SpecError(spec, atom.at,
                       absl::StrCat("a list has at most ", kUnfoldedMax, " indices; shorten it"));
    }
  }
  return integers;
}

}  // namespace scalpel::client
