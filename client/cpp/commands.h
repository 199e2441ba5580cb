// The commands: each makes one call and shows its answer.

#ifndef SCALPEL_CLIENT_CPP_COMMANDS_H_
#define SCALPEL_CLIENT_CPP_COMMANDS_H_

#include <istream>
#include <ostream>

#include "client/cpp/errors.h"
#include "client/cpp/options.h"
#include "client/cpp/screen.h"

namespace scalpel::client {

// Runs the command that the options name. Answers go to `screen`, errors to `err`; `in` is what `-`
// reads.
// `progress`: whether `err` is a terminal that can show it.
ExitCode RunCommand(const Options& options, std::istream& in, const Screen& screen,
                    std::ostream& err, bool progress);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_COMMANDS_H_
