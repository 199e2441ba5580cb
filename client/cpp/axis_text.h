// Describes in words which of the model's indices the axes of a result hold.

#ifndef SCALPEL_CLIENT_CPP_AXIS_TEXT_H_
#define SCALPEL_CLIENT_CPP_AXIS_TEXT_H_

#include <string>

#include "google/protobuf/repeated_field.h"
#include "proto/scalpel/v1/site.pb.h"

namespace scalpel::client {

// Returns a text such as `head 3, 7; position 2 to 10 by 2`. Axes with the indices 0, 1, 2 and so
// on are left out, because there the position in the array is the index. The text is empty if no
// axis is left, or if the server is too old to report the indices.
std::string PartText(const google::protobuf::RepeatedPtrField<v1::AxisIndices>& axes);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_AXIS_TEXT_H_
