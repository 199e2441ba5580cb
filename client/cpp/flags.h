// The table of all flags except those of interventions. The parser and --help both use it.

#ifndef SCALPEL_CLIENT_CPP_FLAGS_H_
#define SCALPEL_CLIENT_CPP_FLAGS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cpp/options.h"

namespace scalpel::client {

// One flag. `value`: the placeholder of its value in --help; null for a switch, whose `set` is
// called with an empty value. A flag with two values has `set_two` instead of `set`. Both return
// INVALID_ARGUMENT for an invalid value.
struct Flag {
  const char* name;
  const char* value;
  const char* meaning;
  absl::Status (*set)(absl::string_view value, Options& options);
  absl::Status (*set_two)(absl::string_view first, absl::string_view second,
                          Options& options) = nullptr;
};

// Flags under one heading of --help.
struct FlagGroup {
  const char* title;
  std::vector<const char*> commands;  // the commands that take these flags; empty: all commands
  std::vector<Flag> flags;
};

// Returns all groups, in the order of --help.
const std::vector<FlagGroup>& FlagGroups();

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_FLAGS_H_
