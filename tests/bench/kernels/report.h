// What was measured, for people and as JSON.

#ifndef SCALPEL_TESTS_BENCH_KERNELS_REPORT_H_
#define SCALPEL_TESTS_BENCH_KERNELS_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/bench/kernels/measure.h"

namespace scalpel::bench {

// As /proc/cpuinfo names it.
std::string CpuName();

nlohmann::json LimitsData(const Limits& limits);
// The best of each; and the values in the middle.
Limits BestOf(const std::vector<Limits>& rounds);
Limits MedianOf(const std::vector<Limits>& rounds);

// `limits`: of the whole run.
nlohmann::json ResultData(const Result& result, const Limits& limits);

// Above the lines of each kernel's cases, and a line for each.
std::string Header(const std::vector<Contestant>& contestants);
std::string Line(const Result& result, const Limits& limits);
std::string LimitsLines(const std::vector<Limits>& rounds, const Machine& machine);

}  // namespace scalpel::bench

#endif  // SCALPEL_TESTS_BENCH_KERNELS_REPORT_H_
