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

// The least role that may call `method`: `/scalpel.v1.InterventionService/Run`, the same without
// the first slash, or `Run` alone. Nothing: no role may, because nobody has said which.
std::optional<Role> LeastRole(absl::string_view method);

// OK, or PERMISSION_DENIED with the role that would do.
absl::Status CheckRole(Role role, absl::string_view method);

}  // namespace scalpel::access

#endif  // SCALPEL_SERVER_ACCESS_ROLE_H_
