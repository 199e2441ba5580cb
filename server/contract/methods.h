// The methods of proto/scalpel/v1/service.proto, and the least role that may call each.

#ifndef SCALPEL_SERVER_CONTRACT_METHODS_H_
#define SCALPEL_SERVER_CONTRACT_METHODS_H_

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/scalpel/v1/options.pb.h"

namespace scalpel::contract {

struct Method {
  std::string service;  // scalpel.v1.InterventionService
  std::string name;     // Run
  v1::Role least_role;
};

const google::protobuf::ServiceDescriptor& ServiceDeclared();

// All of them, in the order in which they are declared.
absl::Span<const Method> Methods();
// Their names alone.
absl::Span<const absl::string_view> MethodNames();

// Those of a service. INTERNAL names a method without a least role.
absl::StatusOr<std::vector<Method>> ReadMethods(const google::protobuf::ServiceDescriptor& service);

}  // namespace scalpel::contract

#endif  // SCALPEL_SERVER_CONTRACT_METHODS_H_
