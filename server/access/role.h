// Roles by name, and which method needs which: each may also call what those before it may.

#ifndef SCALPEL_SERVER_ACCESS_ROLE_H_
#define SCALPEL_SERVER_ACCESS_ROLE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/scalpel/v1/options.pb.h"

namespace scalpel::access {

using Role = v1::Role;

absl::string_view RoleName(Role role);  // as in the file of tokens
std::string RoleNames();                // all of them, as a list in prose
std::optional<Role> ParseRole(absl::string_view name);

// Returns the lowest role that may call `method`, which is named as in
// `/scalpel.v1.InterventionService/Run`, with or without the leading slash, or by `Run` alone.
// Returns nullopt if the method is not listed: then no role may call it.
std::optional<Role> LeastRole(absl::string_view method);

// Returns OK if `role` may call `method`, else PERMISSION_DENIED with the role that is needed.
absl::Status CheckRole(Role role, absl::string_view method);

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_ROLE_H_
