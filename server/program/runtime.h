// What the process must be told before anything else runs.

#ifndef SCALPEL_SERVER_PROGRAM_RUNTIME_H_
#define SCALPEL_SERVER_PROGRAM_RUNTIME_H_

namespace scalpel {

// What is written to a closed pipe or standard stream must not end the server, nor land in a file
// that was opened in its place.
void GuardStandardStreams();

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_RUNTIME_H_
