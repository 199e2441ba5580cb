// Every flag but those of interventions, as a table: the parser and --help are both made from it.

#ifndef SCALPEL_CLIENT_CPP_FLAGS_H_
#define SCALPEL_CLIENT_CPP_FLAGS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "client/cpp/options.h"

namespace scalpel::client {

// One flag. `value` names its value; null for a switch, whose `set` gets an empty one. A flag with
// two values has `set_two` instead.
struct Flag {
  const char* name;
  const char* value;
  const char* meaning;
  absl::Status (*set)(absl::string_view value, Options& options);
  absl::Status (*set_two)(absl::string_view first, absl::string_view second,
                          Options& options) = nullptr;
};

// Flags that stand together in --help.
struct FlagGroup {
  const char* title;
  std::vector<const char*> commands;  // that have them; none: all
  std::vector<Flag> flags;
};

const std::vector<FlagGroup>& FlagGroups();

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_FLAGS_H_
