#include "server/contract/methods.h"

#include "absl/strings/str_cat.h"
#include "proto/scalpel/v1/options.pb.h"
#include "proto/scalpel/v1/service.pb.h"

namespace scalpel::contract {

const google::protobuf::ServiceDescriptor& ServiceDeclared() {
  return *v1::TokenizeRequest::descriptor()->file()->service(0);
}

absl::StatusOr<std::vector<Method>> ReadMethods(
    const google::protobuf::ServiceDescriptor& service) {
  std::vector<Method> methods;
  for (int i = 0; i < service.method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *service.method(i);
    const v1::Role least = method.options().GetExtension(v1::least_role);
    if (least == v1::ROLE_UNSPECIFIED || !v1::Role_IsValid(least)) {
      return absl::InternalError(absl::StrCat(
          method.full_name(), " has no least role; give it the option (scalpel.v1.least_role)"));
    }
    methods.push_back({std::string(service.full_name()), std::string(method.name()), least});
  }
  return methods;
}

absl::Span<const Method> Methods() {
  static const auto* methods = new std::vector<Method>(ReadMethods(ServiceDeclared()).value());
  return *methods;
}

absl::Span<const absl::string_view> MethodNames() {
  static const auto* names = [] {
    auto* list = new std::vector<absl::string_view>;
    for (const Method& method : Methods()) list->push_back(method.name);
    return list;
  }();
  return *names;
}

}  // namespace scalpel::contract
