#include <csignal>
#include <string>
#include <vector>

#include "client/cpp/cli.h"

int main(int argc, char** argv) {
  // A reader of the output that goes away shows as a failed write, and the call is cancelled in
  // order.
  std::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return scalpel::client::RunProgram(arguments, scalpel::client::ThisProcess());
}
