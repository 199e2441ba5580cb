// Reads settings as the program does, from a command line and an environment.

#ifndef SCALPEL_TESTS_UNIT_CONFIG_PARSE_H_
#define SCALPEL_TESTS_UNIT_CONFIG_PARSE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "server/config/config.h"

namespace scalpel {

inline absl::StatusOr<Config> Parse(std::vector<const char*> flags,
                                    std::vector<const char*> environment = {}) {
  flags.insert(flags.begin(), "scalpel-server");
  environment.push_back(nullptr);
  return ReadConfig(static_cast<int>(flags.size()), flags.data(), environment.data());
}

}  // namespace scalpel

#endif  // SCALPEL_TESTS_UNIT_CONFIG_PARSE_H_
