#include "client/cpp/cli.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "client/cpp/commands.h"
#include "client/cpp/help.h"
#include "client/cpp/options.h"
#include "client/cpp/security.h"

namespace scalpel::client {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int TerminalColumns() {
  constexpr int kDefault = 80;
  constexpr int kMin = 60;
  constexpr int kMax = 250;
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefault;
  return std::clamp<int>(size.ws_col, kMin, kMax);
}

}  // namespace

int RunProgram(const std::vector<std::string>& arguments, const ProcessStreams& streams) {
  absl::StatusOr<Options> options = ParseOptions(arguments, streams.server);
  if (!options.ok()) {
    streams.err << options.status().message() << "\n";
    return kUsage;
  }
  if (options->help) {
    streams.screen.out << HelpText();
    return kDone;
  }
  if (const absl::Status status = ReadSecurity(options->server, streams.token, &options->security);
      !status.ok()) {
    streams.err << status.message() << "\n";
    return kUsage;
  }
  return RunCommand(*options, streams.in, streams.screen, streams.err, streams.progress);
}

ProcessStreams ThisProcess() {
  const bool terminal = isatty(STDOUT_FILENO) == 1 && Environment("TERM") != "dumb";
  return {
      std::cin,
      Screen{std::cout, TerminalColumns(), terminal && Environment("NO_COLOR").empty(), terminal},
      std::cerr,
      Environment("SCALPEL_SERVER_ADDRESS"),
      isatty(STDERR_FILENO) == 1 && Environment("TERM") != "dumb",
      Environment("SCALPEL_TOKEN")};
}

}  // namespace scalpel::client
