// The text of --help.

#ifndef SCALPEL_CLIENT_CPP_HELP_H_
#define SCALPEL_CLIENT_CPP_HELP_H_

#include <string>

namespace scalpel::client {

// Commands, flags, the grammar of specs, exit codes; at most 80 columns wide.
std::string HelpText();

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_HELP_H_
