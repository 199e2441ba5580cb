#include <csignal>
#include <string>
#include <vector>

#include "client/cpp/cli.h"

int main(int argc, char** argv) {
  // A closed output must show as a failed write, after which the call is cancelled.
  std::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return scalpel::client::RunProgram(arguments, scalpel::client::ThisProcess());
}
