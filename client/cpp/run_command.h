// The command `run`: reads the stream and shows it as it comes.

#ifndef SCALPEL_CLIENT_CPP_RUN_COMMAND_H_
#define SCALPEL_CLIENT_CPP_RUN_COMMAND_H_

#include <istream>
#include <ostream>

#include "client/cpp/errors.h"
#include "client/cpp/options.h"
#include "client/cpp/screen.h"

namespace scalpel::client {

ExitCode RunModel(const Options& options, std::istream& in, const Screen& screen,
                  std::ostream& err);

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_RUN_COMMAND_H_
