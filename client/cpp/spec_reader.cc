#include "client/cpp/spec_reader.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/text.h"

namespace scalpel::client {

const Field* SpecReader::Take(absl::string_view key, size_t values_max) {
  known_keys_.emplace_back(key);
  const Field* found = nullptr;
  for (size_t i = 0; i < spec_.fields.size(); ++i) {
    const Field& field = spec_.fields[i];
    if (field.is_word() || (field.key.text != key && field.key.text != absl::StrCat(key, "s"))) {
      continue;
    }
    taken_[i] = true;
    if (found != nullptr) {
      Fail(SpecError(spec_, field.key.at,
                     absl::StrCat("`", key, "` is given twice; list its values as ", key, "=1,3")));
      return nullptr;
    }
    found = &field;
  }
  if (found != nullptr && found->values.size() > values_max) {
    Fail(SpecError(spec_, found->values[values_max].at,
                   absl::StrCat("`", key, "` takes one value; remove this one")));
    return nullptr;
  }
  return found;
}

bool SpecReader::Word(absl::string_view word) {
  known_words_.emplace_back(word);
  for (size_t i = 0; i < spec_.fields.size(); ++i) {
    if (!spec_.fields[i].is_word() || spec_.fields[i].key.text != word) continue;
    taken_[i] = true;
    return true;
  }
  return false;
}

std::optional<int64_t> SpecReader::Integer(absl::string_view key) {
  const Field* field = Take(key, 1);
  if (field == nullptr) return std::nullopt;
  const std::optional<int64_t> value = Checked(IntegerOf(spec_, field->values[0]));
  if (value && *value != static_cast<int32_t>(*value)) {
    Fail(SpecError(spec_, field->values[0].at, "more than 32 bits; write a smaller number"));
    return std::nullopt;
  }
  return value;
}

std::optional<uint64_t> SpecReader::Seed(absl::string_view key) {
  const Field* field = Take(key, 1);
  if (field == nullptr) return std::nullopt;
  uint64_t seed;
  if (absl::SimpleAtoi(field->values[0].text, &seed)) return seed;
  Fail(SpecError(spec_, field->values[0].at, "a seed is an integer from 0 to 2^64 - 1"));
  return std::nullopt;
}

std::optional<double> SpecReader::Number(absl::string_view key) {
  const Field* field = Take(key, 1);
  return field == nullptr ? std::nullopt : Checked(NumberOf(spec_, field->values[0]));
}

std::optional<std::string> SpecReader::Text(absl::string_view key) {
  const Field* field = Take(key, 1);
  return field == nullptr ? std::nullopt : std::optional(field->values[0].text);
}

bool SpecReader::Numbers(absl::string_view key, google::protobuf::RepeatedField<double>* numbers) {
  const Field* field = Take(key, SIZE_MAX);
  if (field == nullptr) return false;
  for (const Atom& atom : field->values) {
    if (const auto number = Checked(NumberOf(spec_, atom))) numbers->Add(*number);
  }
  return true;
}

bool SpecReader::Int32s(absl::string_view key, google::protobuf::RepeatedField<int32_t>* integers) {
  const Field* field = Take(key, SIZE_MAX);
  if (field == nullptr) return false;
  for (const int64_t integer :
       Checked(IntegersOf(spec_, field->values)).value_or(std::vector<int64_t>())) {
    if (integer != static_cast<int32_t>(integer)) {
      Fail(SpecError(spec_, field->values[0].at,
                     absl::StrCat(integer, " has more than 32 bits; write a smaller number")));
    }
    integers->Add(static_cast<int32_t>(integer));
  }
  return true;
}

bool SpecReader::Steps(absl::string_view key, v1::Range* steps) {
  const Field* field = Take(key, 1);
  if (field == nullptr) return false;
  const Atom& value = field->values[0];
  if (value.text == "prompt") {
    steps->set_end(1);
  } else if (value.text == "generated") {
    steps->set_start(1);
  } else if (IsRange(value)) {
    if (const auto range = Checked(RangeOf(spec_, value))) Fill(*range, steps);
  } else if (const auto step = IntegerOf(spec_, value); step.ok()) {
    steps->set_start(*step);
    steps->set_end(*step + 1);
  } else {
    Fail(SpecError(spec_, value.at, "steps are prompt, generated, one such as 3, or a range 1:4"));
  }
  return true;
}

bool SpecReader::Pairs(absl::string_view key,
                       google::protobuf::RepeatedPtrField<v1::QueryKey>* pairs) {
  const Field* field = Take(key, SIZE_MAX);
  if (field == nullptr) return false;
  for (const Atom& atom : field->values) {
    const absl::StatusOr<SpecRange> pair = RangeOf(spec_, atom);
    if (!pair.ok() || !pair->start || !pair->end || pair->step) {
      Fail(SpecError(spec_, atom.at, "a pair is QUERY:KEY, such as 7:2"));
      continue;
    }
    v1::QueryKey* message = pairs->Add();
    message->set_query(*pair->start);
    message->set_key(*pair->end);
  }
  return true;
}

void SpecReader::Fill(const SpecRange& range, v1::Range* message) const {
  if (range.start) message->set_start(*range.start);
  if (range.end) message->set_end(*range.end);
  if (range.step) message->set_step(*range.step);
}

void SpecReader::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

absl::Status SpecReader::Finish() {
  const auto knows = [](const std::vector<std::string>& known, const std::string& name) {
    return std::find(known.begin(), known.end(), name) != known.end();
  };
  for (size_t i = 0; i < taken_.size() && status_.ok(); ++i) {
    if (taken_[i]) continue;
    const Field& field = spec_.fields[i];
    const std::string& name = field.key.text;
    if (field.is_word() && knows(known_keys_, name)) {
      Fail(SpecError(spec_, field.key.at,
                     absl::StrCat("`", name, "` needs a value; write ", name, "=5")));
    } else if (!field.is_word() && knows(known_words_, name)) {
      Fail(SpecError(spec_, field.key.at,
                     absl::StrCat("`", name, "` takes no value; write only the word")));
    } else {
      const std::string words =
          known_words_.empty()
              ? ""
              : absl::StrCat("; and the words ", absl::StrJoin(known_words_, ", "));
      Fail(SpecError(spec_, field.key.at,
                     absl::StrCat("unknown `", Printable(name), "`; known are ",
                                  absl::StrJoin(known_keys_, "=, "), "=", words)));
    }
  }
  return status_;
}

}  // namespace scalpel::client
