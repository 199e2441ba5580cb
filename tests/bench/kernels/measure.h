// How kernels are timed: in turn, round after round, with the machine's limits in each round.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_MEASURE_H_
#define SCALPEL_TESTS_BENCH_KERNELS_MEASURE_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/kernels/limits.h"

namespace scalpel::bench {

// Somebody's way to compute what a case asks for.
struct Contestant {
  std::string_view name;
  std::function<void()> run;
  // Of what the last run wrote: the largest error, as a part of what rounding may come to. At most
  // 1 is right.
  std::function<double()> error;
};

// One row of the table.
struct Case {
  std::string name;
  double flops = 0;                     // that it cannot do without; 0: not counted
  double bytes = 0;                     // that must come from memory; 0 where the caches hold all
  std::vector<Contestant> contestants;  // ours first
};

// A kernel and its cases. A case keeps alive what it needs; those of one kernel may share it.
struct Kernel {
  std::string_view name;
  std::vector<Case> (*cases)();
};

// Times of several rounds, or limits of them.
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

  // The least time that the limits allow, as a part of a contestant's best.
  double ShareOfLimit(const Score& score, const Limits& limits) const;
  // How many times as fast ours is: the median over rounds, in each of which both had their turn.
  double OursTimesAsFast(const Score& score) const;
};

// Checks everybody, then times at least so many rounds, and more where they are short. Adds the
// limits of each round to `limits`.
Result Measure(std::string_view kernel, const Case& one, int rounds, Machine& machine,
               std::vector<Limits>& limits);

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_MEASURE_H_
