// Set-up of the process that must precede everything else.

#ifndef SCALPEL_SERVER_PROGRAM_RUNTIME_H_
#define SCALPEL_SERVER_PROGRAM_RUNTIME_H_

namespace scalpel {

// Ignores SIGPIPE, so that a write to a closed pipe does not end the server, and opens /dev/null in
// place of closed standard streams, so that no file opened later takes their descriptors. Must be
// called before other threads start and before files are opened.
void GuardStandardStreams();

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_RUNTIME_H_
