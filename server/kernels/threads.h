// The thread pool of the kernels: the calling thread and a set of workers.

#ifndef SCALPEL_SERVER_KERNELS_THREADS_H_
#define SCALPEL_SERVER_KERNELS_THREADS_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace scalpel::kernels {

// Sets how many threads ParallelFor uses, including the caller's; values below 1 count as 1, which
// is also the initial value. Must not be called while a ParallelFor runs.
void SetThreads(int threads);
// Returns that number.
int Threads();

// Calls body(begin, end) for consecutive pieces of [0, count) and returns when all of them are
// done. Pieces have `piece` elements (values below 1 count as 1), the last may have fewer, and run
// on the caller's thread and on the workers. Which thread runs which piece is unspecified, so
// results must not depend on it. `body` must not throw.
//
// Only one call at a time has the workers. A call that comes meanwhile or from within `body` runs
// as a single body(0, count) on the caller's thread, and so does one that has only one piece, or
// all calls if there are no workers. Thread-safe.
//
// A worker without work spins for some tens of microseconds before it sleeps: it is still awake
// when the next kernel of a layer starts, but uses no CPU time between requests.
void ParallelFor(int64_t count, int64_t piece,
                 absl::FunctionRef<void(int64_t begin, int64_t end)> body);

}  // namespace scalpel::kernels

#endif  // SCALPEL_SERVER_KERNELS_THREADS_H_
