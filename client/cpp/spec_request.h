// Converts one-line specs to messages of the proto. Names are converted to enums, but the server
// checks whether, for example, an index exists or a site has heads.

#ifndef SCALPEL_CLIENT_CPP_SPEC_REQUEST_H_
#define SCALPEL_CLIENT_CPP_SPEC_REQUEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/scalpel/v1/generate.pb.h"
#include "proto/scalpel/v1/intervention.pb.h"
#include "proto/scalpel/v1/observation.pb.h"
#include "proto/scalpel/v1/place.pb.h"
#include "proto/scalpel/v1/site.pb.h"
#include "proto/scalpel/v1/statistic.pb.h"
#include "proto/scalpel/v1/tensor.pb.h"

namespace scalpel::client {

class SpecReader;

// An operation that has a flag, `--name`: its keys, in addition to those of a place, and what it
// does, for --help; and the function that reads a spec into an intervention.
struct OperationFlag {
  const char* name;
  const char* keys;
  const char* meaning;
  void (*read)(SpecReader& reader, v1::Intervention& intervention);
};

// Returns all operations, in the order of the proto.
const std::vector<OperationFlag>& OperationFlags();

// Parse the value of an operation's flag, of --probe or of --capture. Errors as in ParseSpec.
absl::StatusOr<v1::Intervention> InterventionOf(const OperationFlag& operation,
                                                absl::string_view text);
absl::StatusOr<v1::Probe> ProbeOf(absl::string_view text);
absl::StatusOr<v1::Capture> CaptureOf(absl::string_view text);

// Parses `-1`, `0,3` or `::2`, the value of `flag`.
absl::StatusOr<v1::Positions> PositionsOf(absl::string_view flag, absl::string_view text);

// Parses `1,2,3`, the value of `flag`; ranges are expanded.
absl::StatusOr<std::vector<int32_t>> Int32sOf(absl::string_view flag, absl::string_view text);

// Return the name of an enum's value in lower case and without its prefix: `resid_post`, `std`,
// `float32`, `stop_string`.
std::string NameOf(v1::Site site);
std::string NameOf(v1::Statistic statistic);
std::string NameOf(v1::DataType dtype);
std::string NameOf(v1::Axis axis);
std::string NameOf(v1::FinishReason reason);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SPEC_REQUEST_H_
