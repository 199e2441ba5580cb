// Times kernels in rounds. In each round the contestants take turns, and the machine's limits are
// measured too.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_MEASURE_H_
#define SCALPEL_TESTS_BENCH_KERNELS_MEASURE_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/kernels/limits.h"

namespace scalpel::bench {

// One implementation of a case.
struct Contestant {
  std::string_view name;
  std::function<void()> run;
  // Returns the largest error of the last run divided by its tolerance. Up to 1 is correct.
  std::function<double()> error;
};

// One row of the table.
struct Case {
  std::string name;
  double flops = 0;                     // the fewest necessary; 0 if not counted
  double bytes = 0;                     // that must be read from memory; 0 if caches hold all
  std::vector<Contestant> contestants;  // ours first
};

// A kernel and its cases. The cases own their tensors, which those of one kernel may share.
struct Kernel {
  std::string_view name;
  std::vector<Case> (*cases)();
};

// The smallest of the times of several rounds, and the median of their times or limits.
double Best(const std::vector<double>& times);
double Median(std::vector<double> values);

struct Score {
  std::string_view name;
  double error = 0;
  std::vector<double> seconds;  // one for each round

  bool right() const { return error <= 1; }
};

struct Result {
  std::string_view kernel;
  std::string name;
  double flops = 0, bytes = 0;
  std::vector<Score> scores;  // ours first

  // Returns the least time that the limits allow divided by a contestant's best time.
  double ShareOfLimit(const Score& score, const Limits& limits) const;
  // Returns how many times as fast our kernel is: the median over rounds of the ratio of times.
  double OursTimesAsFast(const Score& score) const;
};

// Checks the outputs of all contestants, then times at least `rounds` rounds, or more if they are
// short. Appends the limits of each round to `limits`.
Result Measure(std::string_view kernel, const Case& one, int rounds, Machine& machine,
               std::vector<Limits>& limits);

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_MEASURE_H_
