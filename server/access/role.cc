#include "server/access/role.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/json.h"

namespace scalpel::access {
namespace {

constexpr Role kRoles[] = {Role::kReader, Role::kRunner, Role::kOperator};

struct Method {
  absl::string_view service;
  absl::string_view name;
  Role least;
};

constexpr char kService[] = "scalpel.v1.InterventionService";
constexpr Method kMethods[] = {
    {kService, "GetModel", Role::kReader},
    {kService, "Tokenize", Role::kReader},
    {kService, "Detokenize", Role::kReader},
    {kService, "Run", Role::kRunner},
    {kService, "Sweep", Role::kRunner},
    {kService, "GetStatus", Role::kOperator},
    {"grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", Role::kReader},
    {"grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", Role::kReader},
};

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kReader:
      return "reader";
    case Role::kRunner:
      return "runner";
    case Role::kOperator:
      return "operator";
  }
  return "";
}

std::optional<Role> ParseRole(absl::string_view name) {
  for (const Role role : kRoles) {
    if (RoleName(role) == name) return role;
  }
  return std::nullopt;
}

std::optional<Role> LeastRole(absl::string_view method) {
  const absl::string_view path = absl::StripPrefix(method, "/");
  const size_t slash = path.rfind('/');
  const bool is_full = slash != absl::string_view::npos;
  const absl::string_view service = is_full ? path.substr(0, slash) : "";
  const absl::string_view name = is_full ? path.substr(slash + 1) : path;
  for (const Method& known : kMethods) {
    if (known.name == name && (!is_full || known.service == service)) return known.least;
  }
  return std::nullopt;
}

absl::Status CheckRole(Role role, absl::string_view method) {
  const std::optional<Role> least = LeastRole(method);
  if (!least.has_value()) {
    return absl::PermissionDeniedError(
        absl::StrCat(QuotedName(method), ": no role may call this method"));
  }
  if (role >= *least) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(method, " needs the role ", RoleName(*least),
                                                  "; this caller has the role ", RoleName(role)));
}

}  // namespace scalpel::access
