// What this machine can do at most: arithmetic, and reading from memory.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_LIMITS_H_
#define SCALPEL_TESTS_BENCH_KERNELS_LIMITS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/kernels/buffer.h"

namespace scalpel::bench {

struct Limits {
  double flops = 0;  // a second, by fused multiply-adds (two each) between registers
  double bytes = 0;  // a second, read from memory that no cache holds
};

// One way to read memory. None is the fastest on every processor, so all are tried.
struct Reading {
  int streams;    // places that a thread reads at a time
  int64_t ahead;  // bytes from what is read to what is fetched meanwhile; 0: the processor guesses
  bool passing;   // fetched past the caches, as far as the processor knows how
};

// Uses all threads of kernels::SetThreads.
class Machine {
 public:
  // Tries all ways of reading, and keeps the fastest few.
  Machine();

  // The best of a few of each, some 0.1 s in all.
  Limits Measure();
  // What is said of the way of reading that was the fastest of all.
  std::string reading() const;
  int64_t buffer_bytes() const { return buffer_.size() * static_cast<int64_t>(sizeof(float)); }

 private:
  struct Tried {
    Reading reading;
    double best;  // bytes a second
  };

  // Bytes a second, once through the buffer.
  double Read(Tried& tried) const;

  kernels::Buffer buffer_;
  std::vector<Tried> kept_;
};

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_LIMITS_H_
