#include "client/cpp/wire_json.h"

#include <string>

#include "google/protobuf/util/json_util.h"

namespace scalpel::client {

void PrintJson(std::ostream& out, const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string json;
  // This cannot fail: only google.protobuf.Any could, and no message of the proto has one.
  if (google::protobuf::util::MessageToJsonString(message, &json, options).ok()) {
    out << json << "\n";
  }
}

}  // namespace scalpel::client
