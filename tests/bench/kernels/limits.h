// Measures the limits of this machine: the rate of arithmetic and of reading from memory.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_LIMITS_H_
#define SCALPEL_TESTS_BENCH_KERNELS_LIMITS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/kernels/buffer.h"

namespace scalpel::bench {

struct Limits {
  double flops = 0;  // per second; a fused multiply-add of registers counts as two
  double bytes = 0;  // per second, read from memory that is in no cache
};

// A way to read memory. None is the fastest on every processor, so several are tried.
struct Reading {
  int streams;    // number of places that a thread reads from at a time
  int64_t ahead;  // distance of prefetching in bytes; 0 leaves it to the processor
  bool passing;   // prefetches bypass the caches, if the processor can do this
};

// Runs on all threads of kernels::SetThreads.
class Machine {
 public:
  // Tries all ways of reading and keeps the fastest few.
  Machine();

  // Returns the best of a few measurements of each limit. Takes some 0.1 s.
  Limits Measure();
  // Describes the fastest way of reading.
  std::string reading() const;
  int64_t buffer_bytes() const { return buffer_.size() * static_cast<int64_t>(sizeof(float)); }

 private:
  struct Tried {
    Reading reading;
    double best;  // bytes per second
  };

  // Reads the buffer once; returns bytes per second.
  double Read(Tried& tried) const;

  kernels::Buffer buffer_;
  std::vector<Tried> kept_;
};

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_LIMITS_H_
