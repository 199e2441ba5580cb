// The command `generate`.

#ifndef SCALPEL_CLIENT_CPP_GENERATE_COMMAND_H_
#define SCALPEL_CLIENT_CPP_GENERATE_COMMAND_H_

#include <istream>
#include <ostream>

#include "client/cpp/errors.h"
#include "client/cpp/options.h"
#include "client/cpp/screen.h"

namespace scalpel::client {

// Makes the call, and prints the text as it comes. Arguments as in RunCommand.
ExitCode RunGenerate(const Options& options, std::istream& in, const Screen& screen,
                     std::ostream& err);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_GENERATE_COMMAND_H_
