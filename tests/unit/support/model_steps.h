// Tests that compare random steps with a simple model of what must hold.
//
// Every failure names its seed; SCALPEL_MODEL_SEED=N repeats it, and SCALPEL_MODEL_STEPS=N makes
// the tests longer or shorter.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_MODEL_STEPS_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_MODEL_STEPS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace scalpel::test {

using Random = std::mt19937_64;

inline uint64_t Below(Random& random, uint64_t n) { return random() % n; }
inline bool Chance(Random& random, double p) {
  return static_cast<double>(random() >> 11) * 0x1p-53 < p;
}

// The number in an environment variable; nullopt: it is unset.
inline std::optional<uint64_t> NumberIn(const char* variable) {
  const char* text = std::getenv(variable);
  uint64_t number = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &number)) return std::nullopt;
  return number;
}

inline std::optional<uint64_t> GivenSeed() { return NumberIn("SCALPEL_MODEL_SEED"); }
inline int64_t StepsOr(int64_t steps) {
  return static_cast<int64_t>(NumberIn("SCALPEL_MODEL_STEPS").value_or(steps));
}

// What went wrong in a sequence of steps; nullopt: nothing.
using Wrong = std::optional<std::string>;

// The shortest sequence that it finds which goes wrong too: leaves out ever smaller pieces.
template <typename Step>
std::vector<Step> Shrink(std::vector<Step> steps,
                         const std::function<Wrong(const std::vector<Step>&)>& run) {
  for (size_t piece = steps.size() / 2; piece > 0; piece /= 2) {
    for (size_t begin = 0; begin < steps.size();) {
      std::vector<Step> shorter = steps;
      const auto first = shorter.begin() + static_cast<int64_t>(begin);
      shorter.erase(first, first + static_cast<int64_t>(std::min(piece, steps.size() - begin)));
      if (run(shorter)) {
        steps = std::move(shorter);
      } else {
        begin += piece;
      }
    }
  }
  return steps;
}

// Runs sequences of random steps, each against a new object; a sequence that goes wrong is shrunk
// and printed. `run` must do the same each time that it is given the same steps.
template <typename Step>
void RunAgainstModel(int64_t steps, int64_t steps_of_sequence,
                     const std::function<Step(Random&)>& make,
                     const std::function<Wrong(const std::vector<Step>&)>& run,
                     const std::function<std::string(const Step&)>& text) {
  const uint64_t first = GivenSeed().value_or(1);
  const int64_t sequences = GivenSeed() ? 1 : StepsOr(steps) / steps_of_sequence;
  for (uint64_t seed = first; seed < first + static_cast<uint64_t>(sequences); ++seed) {
    Random random(seed);
    std::vector<Step> sequence;
    for (int64_t i = 0; i < steps_of_sequence; ++i) sequence.push_back(make(random));
    if (!run(sequence)) continue;
    const std::vector<Step> shortest = Shrink(sequence, run);
    std::string message = absl::StrCat("SCALPEL_MODEL_SEED=", seed, ": ", *run(shortest));
    for (const Step& step : shortest) absl::StrAppend(&message, "\n  ", text(step));
    FAIL() << message;
  }
}

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_MODEL_STEPS_H_
