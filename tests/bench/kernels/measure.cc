#include "tests/bench/kernels/measure.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace scalpel::bench {
namespace {

using Clock = std::chrono::steady_clock;

// A pause between contestants, since OpenMP's threads spin for some milliseconds after their work.
constexpr auto kRest = std::chrono::milliseconds(20);
// kTurnSeconds: the shortest turn. kWarmSeconds: a call that is shorter is made once before it is
// timed, to wake the threads.
constexpr double kTurnSeconds = 3e-3, kWarmSeconds = 50e-3;
// Short rounds are repeated until they have taken this long together, up to a limit.
constexpr double kCaseSeconds = 2;
constexpr size_t kRoundsMost = 40;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double Seconds(const Contestant& contestant, int calls) {
  const auto begin = Clock::now();
  for (int i = 0; i < calls; ++i) contestant.run();
  return SecondsSince(begin) / calls;
}

// Times one turn; returns the seconds of a call. `last`: those of a call in the turn before.
double Turn(const Contestant& contestant, double last) {
  std::this_thread::sleep_for(kRest);
  if (last < kWarmSeconds) contestant.run();
  return Seconds(contestant, std::max(1, static_cast<int>(kTurnSeconds / last)));
}

}  // namespace

double Best(const std::vector<double>& times) {
  return *std::min_element(times.begin(), times.end());
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double Result::ShareOfLimit(const Score& score, const Limits& limits) const {
  return std::max(flops / limits.flops, bytes / limits.bytes) / Best(score.seconds);
}

double Result::OursTimesAsFast(const Score& score) const {
  std::vector<double> factors;
  for (size_t i = 0; i < score.seconds.size(); ++i)
    factors.push_back(score.seconds[i] / scores[0].seconds[i]);
  return Median(factors);
}

Result Measure(std::string_view kernel, const Case& one, int rounds, Machine& machine,
               std::vector<Limits>& limits) {
  Result result = {kernel, one.name, one.flops, one.bytes, {}};
  std::vector<double> last;
  for (const Contestant& contestant : one.contestants) {
    last.push_back(Seconds(contestant, 1));
    result.scores.push_back({contestant.name, contestant.error(), {}});
  }
  const auto begin = Clock::now();
  for (size_t round = 0; round < static_cast<size_t>(rounds) ||
                         (round < kRoundsMost && SecondsSince(begin) < kCaseSeconds);
       ++round) {
    for (size_t i = 0; i < one.contestants.size(); ++i) {
      last[i] = Turn(one.contestants[i], last[i]);
      result.scores[i].seconds.push_back(last[i]);
    }
    std::this_thread::sleep_for(kRest);
    limits.push_back(machine.Measure());
  }
  return result;
}

}  // namespace scalpel::bench
