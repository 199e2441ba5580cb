// Prints messages as protobuf JSON.

#ifndef SCALPEL_CLIENT_CPP_WIRE_JSON_H_
#define SCALPEL_CLIENT_CPP_WIRE_JSON_H_

#include <ostream>

#include "google/protobuf/message.h"

namespace scalpel::client {

// Prints `message` as one line. Fields have their names in the proto, which errors also use. Fields
// without presence are printed even if they are zero.
void PrintJson(std::ostream& out, const google::protobuf::Message& message);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_WIRE_JSON_H_
