// Converts the fields of a spec to fields of messages, and keeps the first error.

#ifndef SCALPEL_CLIENT_CPP_SPEC_READER_H_
#define SCALPEL_CLIENT_CPP_SPEC_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cpp/spec_grammar.h"
#include "google/protobuf/repeated_field.h"
#include "proto/scalpel/v1/intervention.pb.h"
#include "proto/scalpel/v1/place.pb.h"

namespace scalpel::client {

// Each reading method takes the field `key` (or its plural: `layers` for `layer`) if the spec has
// it, and returns nullopt or false if not. After an error the methods may still be called. Finish
// returns the first error, or an error for a field that no method has taken. The spec must outlive
// the reader. Not thread-safe.
class SpecReader {
 public:
  explicit SpecReader(const Spec& spec) : spec_(spec), taken_(spec.fields.size()) {}

  // Returns whether the spec has the word.
  bool Word(absl::string_view word);
  // Return the single value of the field, or nullopt.
  std::optional<int64_t> Integer(absl::string_view key);
  std::optional<uint64_t> Seed(absl::string_view key);
  std::optional<double> Number(absl::string_view key);
  std::optional<std::string> Text(absl::string_view key);
  // Store the values of the field, and return whether the spec has it.
  bool Numbers(absl::string_view key, google::protobuf::RepeatedField<double>* numbers);
  bool Int32s(absl::string_view key, google::protobuf::RepeatedField<int32_t>* integers);
  // Reads a single range as a range, and anything else as indices. `Kind` is v1::Units or
  // v1::Positions.
  template <typename Kind>
  bool Indices(absl::string_view key, Kind* kind);
  // Reads the steps of a generation: `prompt`, `generated`, one step, or a range.
  bool Steps(absl::string_view key, v1::Range* steps);
  // Reads pairs of query and key, such as `7:2,5:1`.
  bool Pairs(absl::string_view key, google::protobuf::RepeatedPtrField<v1::QueryKey>* pairs);

  const Spec& spec() const { return spec_; }
  // Records an error, unless there is one already.
  void Fail(absl::Status status);
  absl::Status Finish();

 private:
  // Takes and returns the field; null if there is none, or if it has more than `values_max` values,
  // which is an error.
  const Field* Take(absl::string_view key, size_t values_max);
  // Returns the value; on error, calls Fail and returns nullopt.
  template <typename T>
  std::optional<T> Checked(const absl::StatusOr<T>& value);
  void Fill(const SpecRange& range, v1::Range* message) const;

  const Spec& spec_;
  std::vector<bool> taken_;
  std::vector<std::string> known_keys_;
  std::vector<std::string> known_words_;
  absl::Status status_;
};

template <typename T>
std::optional<T> SpecReader::Checked(const absl::StatusOr<T>& value) {
  if (value.ok()) return *value;
  Fail(value.status());
  return std::nullopt;
}

template <typename Kind>
bool SpecReader::Indices(absl::string_view key, Kind* kind) {
  const Field* field = Take(key, SIZE_MAX);
  if (field == nullptr) return false;
  if (field->values.size() == 1 && IsRange(field->values[0])) {
    if (const auto range = Checked(RangeOf(spec_, field->values[0])))
      Fill(*range, kind->mutable_range());
  } else if (const auto indices = Checked(IntegersOf(spec_, field->values))) {
    kind->mutable_indices()->mutable_values()->Add(indices->begin(), indices->end());
  }
  return true;
}

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SPEC_READER_H_
