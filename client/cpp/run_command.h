// The command `run`.

#ifndef SCALPEL_CLIENT_CPP_RUN_COMMAND_H_
#define SCALPEL_CLIENT_CPP_RUN_COMMAND_H_

#include <istream>
#include <ostream>

#include "client/cpp/errors.h"
#include "client/cpp/options.h"
#include "client/cpp/screen.h"

namespace scalpel::client {

// Makes the call, and prints the events as they arrive. Arguments as in RunCommand.
ExitCode RunModel(const Options& options, std::istream& in, const Screen& screen,
                  std::ostream& err);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_RUN_COMMAND_H_
