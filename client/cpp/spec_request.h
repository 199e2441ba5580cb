// One-line specs as messages of the contract. Names become enums, nothing more: whether an index
// exists, or a site has heads, is for the server to say.

#ifndef SCALPEL_CLIENT_CPP_SPEC_REQUEST_H_
#define SCALPEL_CLIENT_CPP_SPEC_REQUEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/scalpel/v1/spec.pb.h"

namespace scalpel::client {

class SpecReader;

// An operation that specs can write: the flag `--name`, the keys it takes beside a place's, and
// what it does.
struct OperationFlag {
  const char* name;
  const char* keys;
  const char* meaning;
  void (*read)(SpecReader& reader, v1::Intervention& intervention);
};

// Every one of them, in the order of the contract.
const std::vector<OperationFlag>& OperationFlags();

absl::StatusOr<v1::Intervention> InterventionOf(const OperationFlag& operation,
                                                absl::string_view text);
absl::StatusOr<v1::Probe> ProbeOf(absl::string_view text);
absl::StatusOr<v1::Capture> CaptureOf(absl::string_view text);

// `-1`, `0,3` or `::2`, the value of `flag`.
absl::StatusOr<v1::Positions> PositionsOf(absl::string_view flag, absl::string_view text);

// `1,2,3`, the value of `flag`; ranges are unfolded.
absl::StatusOr<std::vector<int32_t>> Int32sOf(absl::string_view flag, absl::string_view text);

// The name of an enum's value without its prefix, in lower case: `resid_post`, `std`, `float32`.
std::string NameOf(v1::Site site);
std::string NameOf(v1::Statistic statistic);
std::string NameOf(v1::DataType dtype);
std::string NameOf(v1::Axis axis);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SPEC_REQUEST_H_
