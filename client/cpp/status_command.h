// `scalpel-cli status` and `scalpel-cli top`.

#ifndef SCALPEL_CLIENT_CPP_STATUS_COMMAND_H_
#define SCALPEL_CLIENT_CPP_STATUS_COMMAND_H_

#include <ostream>

#include "client/cpp/errors.h"
#include "client/cpp/options.h"
#include "client/cpp/screen.h"

namespace scalpel::client {

// Asks once; rates are those since the server started.
ExitCode ShowStatus(const Options& options, const Screen& screen, std::ostream& err);

// Asks each second, until it is interrupted or nobody reads the screen; rates are those of the last
// second. On a terminal each answer replaces the one before.
ExitCode ShowTop(const Options& options, const Screen& screen, std::ostream& err);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_STATUS_COMMAND_H_
