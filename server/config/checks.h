// What must hold between settings.

#ifndef SCALPEL_SERVER_CONFIG_CHECKS_H_
#define SCALPEL_SERVER_CONFIG_CHECKS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/config/config.h"

namespace scalpel {

// INVALID_ARGUMENT is one line that names a setting as it was given, and the remedy.
absl::Status CheckConfig(const Config& config);

// Whether only this machine reaches an address HOST:PORT: 127.0.0.0/8, ::1 and localhost.
bool IsLoopback(absl::string_view address);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_CHECKS_H_
