#include "tests/bench/kernels/report.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace scalpel::bench {
namespace {

constexpr double kMilli = 1e3, kGiga = 1e-9;

std::vector<double> All(const std::vector<Limits>& rounds, double Limits::*which) {
  std::vector<double> values;
  for (const Limits& limits : rounds) values.push_back(limits.*which);
  return values;
}

// Formats a number with its unit; blank if the number is not known.
std::string Column(double value, std::string_view unit) {
  constexpr size_t kWidth = 10;
  const std::string text = value == 0 ? "" : absl::StrFormat("%.1f%s", value, unit);
  return std::string(kWidth - std::min(kWidth, text.size()), ' ') + text;
}

}  // namespace

std::string CpuName() {
  std::map<std::string, std::string, std::less<>> facts;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line) && !line.empty();) {  // of the first processor
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string name = line.substr(0, colon), value = line.substr(colon + 1);
    absl::StripAsciiWhitespace(&name);
    absl::StripAsciiWhitespace(&value);
    facts[name] = value;
  }
  if (facts.contains("model name"))
    return absl::StrFormat("%s, family %s model %s", facts["model name"], facts["cpu family"],
                           facts["model"]);
  return absl::StrFormat("implementer %s part %s", facts["CPU implementer"], facts["CPU part"]);
}

nlohmann::json LimitsData(const Limits& limits) {
  return {{"gflops", limits.flops * kGiga}, {"gbytes", limits.bytes * kGiga}};
}

Limits BestOf(const std::vector<Limits>& rounds) {
  Limits best;
  for (const Limits& limits : rounds) {
    best.flops = std::max(best.flops, limits.flops);
    best.bytes = std::max(best.bytes, limits.bytes);
  }
  return best;
}

Limits MedianOf(const std::vector<Limits>& rounds) {
  return {.flops = Median(All(rounds, &Limits::flops)),
          .bytes = Median(All(rounds, &Limits::bytes))};
}

nlohmann::json ResultData(const Result& result, const Limits& limits) {
  nlohmann::json contestants = nlohmann::json::array();
  for (const Score& score : result.scores) {
    const double best = Best(score.seconds);
    contestants.push_back({{"name", score.name},
                           {"right", score.right()},
                           {"error", score.error},
                           {"best_ms", best * kMilli},
                           {"median_ms", Median(score.seconds) * kMilli},
                           {"gflops", result.flops / best * kGiga},
                           {"gbytes", result.bytes / best * kGiga},
                           {"share_of_limit", result.ShareOfLimit(score, limits)},
                           {"ours_times_as_fast", result.OursTimesAsFast(score)}});
  }
  return {{"kernel", result.kernel},
          {"name", result.name},
          {"flops", result.flops},
          {"bytes", result.bytes},
          {"rounds", result.scores[0].seconds.size()},
          {"contestants", contestants}};
}

std::string Header(const std::vector<Contestant>& contestants) {
  std::string text = absl::StrFormat("  %-14s %9s %9s %8s %8s %9s", "", "best ms", "median",
                                     "GFLOP/s", "GB/s", "of limit");
  for (size_t i = 1; i < contestants.size(); ++i)
    absl::StrAppendFormat(&text, "  |%9s %9s %8s", contestants[i].name, "median", "ours is");
  return text;
}

std::string Line(const Result& result, const Limits& limits) {
  const Score& ours = result.scores[0];
  const double best = Best(ours.seconds);
  std::string text = absl::StrFormat("  %-14s %9.4g %9.4g", result.name, best * kMilli,
                                     Median(ours.seconds) * kMilli);
  text += Column(result.flops / best * kGiga, "") + Column(result.bytes / best * kGiga, "") +
          Column(100 * result.ShareOfLimit(ours, limits), " %");
  for (size_t i = 1; i < result.scores.size(); ++i) {
    const Score& score = result.scores[i];
    absl::StrAppendFormat(&text, "  |%9.4g %9.4g %7.2fx", Best(score.seconds) * kMilli,
                          Median(score.seconds) * kMilli, result.OursTimesAsFast(score));
  }
  for (const Score& score : result.scores) {
    if (!score.right())
      absl::StrAppendFormat(&text, "  WRONG: %s, %.3g times what rounding may come to", score.name,
                            score.error);
  }
  return text;
}

std::string LimitsLines(const std::vector<Limits>& rounds, const Machine& machine) {
  const Limits best = BestOf(rounds), median = MedianOf(rounds);
  return absl::StrFormat(
      "FMA peak        %.1f GFLOP/s (median %.1f)\n"
      "read bandwidth  %.1f GB/s (median %.1f): %d MiB, %s\n",
      best.flops * kGiga, median.flops * kGiga, best.bytes * kGiga, median.bytes * kGiga,
      machine.buffer_bytes() >> 20, machine.reading());
}

}  // namespace scalpel::bench
