// What the C library, OpenMP and the kernel must be told before anything else runs.

#ifndef SCALPEL_SERVER_RUNTIME_H_
#define SCALPEL_SERVER_RUNTIME_H_

namespace scalpel {

// What is written to a closed pipe or standard stream must not end the server, nor land in a file
// that was opened in its place.
void GuardStandardStreams();

// Temporaries of a layer stay mapped between operations instead of being faulted in again each
// time. A thread that waits for the next parallel region spins only shortly: on two cores it would
// take time from the calls. libgomp reads its setting when it is loaded, so the program starts
// again once, with the arguments `argv`.
void TuneRuntime(char** argv);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_RUNTIME_H_
