// Messages as protobuf JSON, one a line.

#ifndef SCALPEL_CLIENT_CPP_WIRE_JSON_H_
#define SCALPEL_CLIENT_CPP_WIRE_JSON_H_

#include <ostream>

#include "google/protobuf/message.h"

namespace scalpel::client {

// Fields by their names in the contract, as error messages name them; fields without presence also
// where they are 0.
void PrintJson(std::ostream& out, const google::protobuf::Message& message);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_WIRE_JSON_H_
