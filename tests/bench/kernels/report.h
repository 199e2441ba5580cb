// Reports measurements, as text and as JSON.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_REPORT_H_
#define SCALPEL_TESTS_BENCH_KERNELS_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/bench/kernels/measure.h"

namespace scalpel::bench {

// Returns the name of the CPU in /proc/cpuinfo.
std::string CpuName();

nlohmann::json LimitsData(const Limits& limits);
// Return the best and the median of each limit over all rounds.
Limits BestOf(const std::vector<Limits>& rounds);
Limits MedianOf(const std::vector<Limits>& rounds);

// `limits`: those of the whole run.
nlohmann::json ResultData(const Result& result, const Limits& limits);

// Return the heading above a kernel's cases, the line of one case, and the lines about the limits.
std::string Header(const std::vector<Contestant>& contestants);
std::string Line(const Result& result, const Limits& limits);
std::string LimitsLines(const std::vector<Limits>& rounds, const Machine& machine);

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_REPORT_H_
