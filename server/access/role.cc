#include "server/access/role.h"

#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "server/base/json.h"
#include "server/contract/methods.h"

namespace scalpel::access {
namespace {

constexpr char kPrefix[] = "ROLE_";

// Says what the services look like, under either of its names.
constexpr char kReflection[] = "ServerReflectionInfo";
constexpr absl::string_view kReflectionServices[] = {"grpc.reflection.v1alpha.ServerReflection",
                                                     "grpc.reflection.v1.ServerReflection"};

// By number.
const std::vector<std::string>& Names() {
  static const auto* names = [] {
    auto* list = new std::vector<std::string>;
    for (int number = 0; number < v1::Role_ARRAYSIZE; ++number) {
      const std::string& name = v1::Role_Name(static_cast<Role>(number));
      list->push_back(absl::AsciiStrToLower(absl::StripPrefix(name, kPrefix)));
    }
    return list;
  }();
  return *names;
}

}  // namespace

absl::string_view RoleName(Role role) { return Names().at(role); }

std::string RoleNames() { return absl::StrJoin(absl::MakeSpan(Names()).subspan(1), ", "); }

std::optional<Role> ParseRole(absl::string_view name) {
  for (int number = v1::ROLE_READER; number < v1::Role_ARRAYSIZE; ++number) {
    if (Names()[number] == name) return static_cast<Role>(number);
  }
  return std::nullopt;
}

std::optional<Role> LeastRole(absl::string_view method) {
  const absl::string_view path = absl::StripPrefix(method, "/");
  const size_t slash = path.rfind('/');
  const bool is_full = slash != absl::string_view::npos;
  const absl::string_view service = is_full ? path.substr(0, slash) : "";
  const absl::string_view name = is_full ? path.substr(slash + 1) : path;
  for (const contract::Method& known : contract::Methods()) {
    if (known.name == name && (!is_full || known.service == service)) return known.least_role;
  }
  const bool reflection =
      name == kReflection && (!is_full || absl::c_linear_search(kReflectionServices, service));
  if (reflection) return v1::ROLE_READER;
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
