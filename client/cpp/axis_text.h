// Which of the model's own indices stand along the axes of an answer, in words.

#ifndef SCALPEL_CLIENT_CPP_AXIS_TEXT_H_
#define SCALPEL_CLIENT_CPP_AXIS_TEXT_H_

#include <string>

#include "google/protobuf/repeated_field.h"
#include "proto/scalpel/v1/site.pb.h"

namespace scalpel::client {

// `head 3, 7; position 2 to 10 by 2`: the axes whose indices are not 0, 1, 2 and so on, for which
// the place in the array is the index. Empty where there are none, and where the server, an older
// one, says nothing of them.
std::string PartText(const google::protobuf::RepeatedPtrField<v1::AxisIndices>& axes);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_AXIS_TEXT_H_
