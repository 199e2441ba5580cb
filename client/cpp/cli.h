// The program without its surroundings, so that tests can run it.

#ifndef SCALPEL_CLIENT_CPP_CLI_H_
#define SCALPEL_CLIENT_CPP_CLI_H_

#include <istream>
#include <ostream>
#include <string>
#include <vector>

#include "client/cpp/screen.h"

namespace scalpel::client {

// What the program stands in.
struct Surroundings {
  std::istream& in;
  Screen screen;
  std::ostream& err;
  std::string server;      // $SCALPEL_SERVER_ADDRESS, or empty
  bool progress = false;   // `err` is a terminal
  std::string token = {};  // $SCALPEL_TOKEN, or empty
};

// Runs the program; `arguments` are those behind its name. Returns the exit code.
int RunProgram(const std::vector<std::string>& arguments, const Surroundings& surroundings);

// The surroundings of this process: its terminal's width, and whether it shows colours.
Surroundings ThisProcess();

}  // namespace scalpel::client

#endif  // SCALPEL_CLIENT_CPP_CLI_H_
