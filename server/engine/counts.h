// What the engine has to do and has done, in numbers.

#ifndef SCALPEL_SERVER_ENGINE_COUNTS_H_
#define SCALPEL_SERVER_ENGINE_COUNTS_H_

#include <cstdint>

#include "absl/time/time.h"

namespace scalpel::engine {

// Of passes whose tasks ran to their end; what a cancelled task computed is in `busy` alone.
struct WaveCounts {
  int64_t rows = 0;
  int64_t tokens = 0;           // positions of the rows
  int64_t tokens_computed = 0;  // those that were computed in any layer
  double flops = 0;             // of the rows, computed in full
  double flops_computed = 0;    // without what was cached, or not needed

  WaveCounts& operator+=(const WaveCounts& other) {
    rows += other.rows;
    tokens += other.tokens;
    tokens_computed += other.tokens_computed;
    flops += other.flops;
    flops_computed += other.flops_computed;
    return *this;
  }
};

struct EngineCounts {
  // Now.
  int64_t queued = 0;          // calls that wait for their first wave
  int64_t running = 0;         // calls that have had it
  int64_t buffered_bytes = 0;  // reserved for responses that are not yet read
  int64_t kv_bytes = 0;        // reserved for keys and values of generations
  // Since the start.
  int64_t waves = 0;
  WaveCounts done;
  absl::Duration busy;  // in waves
};

}  // namespace scalpel::engine

#endif  // SCALPEL_SERVER_ENGINE_COUNTS_H_
