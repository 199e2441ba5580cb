// The commands of the program.

#ifndef SCALPEL_CLIENT_CPP_COMMANDS_H_
#define SCALPEL_CLIENT_CPP_COMMANDS_H_

#include <istream>
#include <ostream>

#include "client/cpp/errors.h"
#include "client/cpp/options.h"
#include "client/cpp/screen.h"

namespace scalpel::client {

// Runs the command that `options` names: makes its calls and prints the answer to `screen`, or an
// error to `err`. The file name `-` reads `in`. `progress`: whether `err` is a terminal that can
// show progress. Returns the exit code.
ExitCode RunCommand(const Options& options, std::istream& in, const Screen& screen,
                    std::ostream& err, bool progress);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_COMMANDS_H_
