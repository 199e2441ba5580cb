// The command `sweep`: reads the stream, and shows its pictures at the end.

#ifndef SCALPEL_CLIENT_CPP_SWEEP_COMMAND_H_
#define SCALPEL_CLIENT_CPP_SWEEP_COMMAND_H_

#include <istream>
#include <ostream>

#include "client/cpp/errors.h"
#include "client/cpp/options.h"
#include "client/cpp/screen.h"

namespace scalpel::client {

// `progress`: whether `err` is a terminal that can show it.
ExitCode RunSweep(const Options& options, std::istream& in, const Screen& screen, std::ostream& err,
                  bool progress);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_SWEEP_COMMAND_H_
