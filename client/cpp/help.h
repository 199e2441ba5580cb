// The text that --help prints.

#ifndef SCALPEL_CLIENT_CPP_HELP_H_
#define SCALPEL_CLIENT_CPP_HELP_H_

#include <string>

namespace scalpel::client {

// Returns the usage: commands, flags, the grammar of specs, and exit codes. It is at most 80
// columns wide.
std::string HelpText();

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_HELP_H_
