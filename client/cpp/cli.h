// The whole program as a function, so that tests can run it.

#ifndef SCALPEL_CLIENT_CPP_CLI_H_
#define SCALPEL_CLIENT_CPP_CLI_H_

#include <istream>
#include <ostream>
#include <string>
#include <vector>

#include "client/cpp/screen.h"

namespace scalpel::client {

// The program's streams, and what it takes from the environment.
struct ProcessStreams {
  std::istream& in;
  Screen screen;
  std::ostream& err;
  std::string server;      // $SCALPEL_SERVER_ADDRESS, or empty
  bool progress = false;   // whether `err` is a terminal that can show progress
  std::string token = {};  // $SCALPEL_TOKEN, or empty
};

// Runs the program with the arguments after its name, and returns its exit code.
int RunProgram(const std::vector<std::string>& arguments, const ProcessStreams& streams);

// Returns those of this process, including the width of its terminal and whether colours
// are shown.
ProcessStreams ThisProcess();

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_CLI_H_
