// The text that --help prints.

#ifndef SCALPEL_SERVER_CONFIG_HELP_TEXT_H_
#define SCALPEL_SERVER_CONFIG_HELP_TEXT_H_

#include <string>

namespace scalpel {

// Returns the usage and all settings, grouped under headings, with their defaults.
std::string HelpText();

}  // namespace scalpel

#endif  // SCALPEL_SERVER_CONFIG_HELP_TEXT_H_
