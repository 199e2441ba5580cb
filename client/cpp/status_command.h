// The commands `status` and `top`.

#ifndef SCALPEL_CLIENT_CPP_STATUS_COMMAND_H_
#define SCALPEL_CLIENT_CPP_STATUS_COMMAND_H_

#include <ostream>

#include "client/cpp/errors.h"
#include "client/cpp/options.h"
#include "client/cpp/screen.h"

namespace scalpel::client {

// Prints the status once, with rates since the server started. Arguments as in RunCommand.
ExitCode ShowStatus(const Options& options, const Screen& screen, std::ostream& err);

// Prints the status each second, with rates over that second, until it is interrupted, the screen
// is closed, or --refreshes is reached. On a terminal each status replaces the previous one.
ExitCode ShowTop(const Options& options, const Screen& screen, std::ostream& err);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STATUS_COMMAND_H_
