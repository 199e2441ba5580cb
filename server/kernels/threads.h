// The threads that compute: the caller and some that wait for it.

#ifndef SCALPEL_SERVER_KERNELS_THREADS_H_
#define SCALPEL_SERVER_KERNELS_THREADS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace scalpel::kernels {

// How many threads ParallelFor uses, the caller's among them; at least 1, and 1 until this is
// called. Not while a ParallelFor runs.
void SetThreads(int threads);
int Threads();

// Calls body(begin, end) until all of [0, count) is done, in pieces of at most `piece`, on the
// caller's thread and on those that wait. Which thread gets which piece is left to chance, so
// results must not depend on it. One call at a time has the threads: another that comes meanwhile,
// or from within `body`, does its own work alone. `body` must not throw.
//
// A waiting thread spins for some ten microseconds before it sleeps: between two kernels of a
// layer it is still awake, and between two requests it takes no time from anybody.
void ParallelFor(int64_t count, int64_t piece,
                 absl::FunctionRef<void(int64_t begin, int64_t end)> body);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_THREADS_H_
