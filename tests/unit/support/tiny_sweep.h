// Sweeps of the small model.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_TINY_SWEEP_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_TINY_SWEEP_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proto/scalpel/v1/sweep.pb.h"
#include "server/engine/baseline_cache.h"
#include "server/spec/sweep.h"

namespace scalpel::test {

// A request with the prompts [1 2 3 4] and [5 6 7], the source [4 3 2 1], and the fields in `text`.
v1::SweepRequest SweepOf(const std::string& text);

// Compiles a valid request. Throws if it is refused, which is an error in the test.
std::shared_ptr<const spec::Sweep> CompileSweepOrThrow(const v1::SweepRequest& request);

// All events of a sweep.
struct SweepAnswer {
  std::vector<v1::SweepResponse> events;

  const v1::SweepClean& Clean() const;
  std::map<int32_t, v1::VariantResult> Variants() const;
  // Returns the values of a metric in one prompt, by variant.
  std::vector<std::vector<double>> Values(const std::string& metric, int32_t prompt = 0) const;
};

// Runs the sweep on the calling thread, with the given number of variants in a wave.
SweepAnswer AskSweep(const v1::SweepRequest& request, engine::BaselineCache& cache,
                     size_t wave_tasks);
// Runs the sweep without a cache, with two variants in a wave.
SweepAnswer AskSweep(const v1::SweepRequest& request);

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_TINY_SWEEP_H_
