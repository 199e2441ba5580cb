// The command `sweep`.

#ifndef SCALPEL_CLIENT_CPP_SWEEP_COMMAND_H_
#define SCALPEL_CLIENT_CPP_SWEEP_COMMAND_H_

#include <istream>
#include <ostream>

#include "client/cpp/errors.h"
#include "client/cpp/options.h"
#include "client/cpp/screen.h"

namespace scalpel::client {

// Makes the call, and prints the metrics when the sweep has finished. Arguments as in RunCommand.
ExitCode RunSweep(const Options& options, std::istream& in, const Screen& screen, std::ostream& err,
                  bool progress);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SWEEP_COMMAND_H_
