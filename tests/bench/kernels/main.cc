// Times the server's kernels, and compares them with libtorch's and with the machine's limits.

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <malloc.h>
#include <stdlib.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "server/kernels/targets.h"
#include "server/kernels/threads.h"
#include "tests/bench/kernels/cases.h"
#include "tests/bench/kernels/limits.h"
#include "tests/bench/kernels/measure.h"
#include "tests/bench/kernels/report.h"

namespace scalpel::bench {
namespace {

// The kernels that are timed. To add one, add a function to cases.h, in a file of its own, and a
// line here.
constexpr Kernel kKernels[] = {
    {"linear, 12 blocks", LinearCases},
    {"attention", AttentionCases},
    {"LayerNorm", LayerNormCases},
    {"GELU by tanh", GeluCases},
};

// How often the limits are measured before the first case, whose line needs them.
constexpr int kFirstLimits = 10;

constexpr std::string_view kUsage =
    R"(usage: kernels_bench [--threads N] [--rounds N] [--json FILE] [--limits]

  --threads N   for all contestants (default 2)
  --rounds N    the least number of rounds; short cases take more (default 7)
  --json FILE   also writes the numbers to FILE
  --limits      measures only the machine's limits: a line of JSON for each line of standard input
)";

struct Options {
  int threads = 2, rounds = 7;
  std::string json;
  bool limits = false;
};

// Returns false if a flag is unknown or its value is not valid.
bool Parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--limits") {
      options.limits = true;
      continue;
    }
    if (++i == argc) return false;
    if (flag == "--json") {
      options.json = argv[i];
    } else if (flag == "--threads" || flag == "--rounds") {
      int& number = flag == "--threads" ? options.threads : options.rounds;
      if (!absl::SimpleAtoi(argv[i], &number) || number < 1) return false;
    } else {
      return false;
    }
  }
  return true;
}

// Gives libtorch its best conditions: huge pages for its weights, as ours have, and freed memory
// that is reused without system calls. Must be called before libtorch allocates.
void TuneMemory() {
  setenv("THP_MEM_ALLOC_ENABLE", "1", 1);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest value that glibc accepts
  mallopt(M_TRIM_THRESHOLD, 128 << 20);
}

double Load() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : -1;
}

void AnswerLimits(Machine& machine) {
  for (std::string line; std::getline(std::cin, line);)
    std::cout << LimitsData(machine.Measure()).dump() << std::endl;
}

int Run(const Options& options, Machine& machine) {
  const double load = Load();
  absl::PrintF("CPU             %s, %s, %d threads\n", CpuName(), kernels::Target(),
               options.threads);
  std::vector<Limits> limits;
  for (int i = 0; i < kFirstLimits; ++i) limits.push_back(machine.Measure());
  std::vector<Result> results;
  bool right = true;
  for (const Kernel& kernel : kKernels) {
    std::vector<Case> cases = kernel.cases();
    absl::PrintF("%s\n%s\n", kernel.name, Header(cases[0].contestants));
    for (const Case& one : cases) {
      results.push_back(Measure(kernel.name, one, options.rounds, machine, limits));
      absl::PrintF("%s\n", Line(results.back(), BestOf(limits)));
      std::fflush(stdout);
      for (const Score& score : results.back().scores) right = right && score.right();
    }
  }
  absl::PrintF("%sload average    %.2f before, %.2f after\n", LimitsLines(limits, machine), load,
               Load());
  nlohmann::json data = {{"cpu", CpuName()},
                         {"target", kernels::Target()},
                         {"threads", options.threads},
                         {"reading", machine.reading()},
                         {"limits", LimitsData(BestOf(limits))},
                         {"median_limits", LimitsData(MedianOf(limits))}};
  for (const Result& result : results) data["cases"].push_back(ResultData(result, BestOf(limits)));
  if (!options.json.empty() && !(std::ofstream(options.json) << data.dump(1) << "\n").flush()) {
    absl::FPrintF(stderr, "kernels_bench: %s cannot be written\n", options.json);
    return 1;
  }
  return right ? 0 : 1;
}

}  // namespace
}  // namespace scalpel::bench

int main(int argc, char** argv) {
  namespace bench = scalpel::bench;
  if (argc == 2 && (std::string_view(argv[1]) == "--help" || std::string_view(argv[1]) == "-h")) {
    std::cout << bench::kUsage;
    return 0;
  }
  bench::Options options;
  if (!bench::Parse(argc, argv, options)) {
    std::cerr << bench::kUsage;
    return 2;
  }
  bench::TuneMemory();
  const c10::InferenceMode inference_only;
  at::set_num_threads(options.threads);
  scalpel::kernels::SetThreads(options.threads);
  bench::Machine machine;
  if (options.limits) {
    bench::AnswerLimits(machine);
    return 0;
  }
  return bench::Run(options, machine);
}
