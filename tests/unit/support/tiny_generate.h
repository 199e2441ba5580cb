// Generations of the small model.

#ifndef SCALPEL_TESTS_UNIT_SUPPORT_TINY_GENERATE_H_
#define SCALPEL_TESTS_UNIT_SUPPORT_TINY_GENERATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/scalpel/v1/generate.pb.h"
#include "server/engine/baseline_cache.h"
#include "server/engine/event_stream.h"
#include "server/model/tensor.h"
#include "server/spec/generation.h"

namespace scalpel::test {

// A request with the prompts [1 2 3 4] and [5 6 7], and the fields in `text`.
v1::GenerateRequest GenerationOf(const std::string& text);

// Compiles a valid request. Throws if it is refused, which is an error in the test.
std::shared_ptr<const spec::Generation> CompileGenerationOrThrow(
    const v1::GenerateRequest& request);

// All events of a generation.
struct Generated {
  std::vector<engine::Event> events;

  // The tokens of a stream, by step.
  std::vector<v1::GeneratedToken> Tokens(int32_t stream) const;
  std::vector<int32_t> Ids(int32_t stream) const;
  v1::StreamFinished Finished(int32_t stream) const;
  v1::InterventionReport Report(int32_t index) const;
  const v1::GenerateFinished& End() const;
  // A tensor of a step: the first of this name.
  at::Tensor Tensor(int32_t stream, int32_t step, const std::string& name) const;
  // What is told of a stream, as bytes, in order.
  std::vector<std::string> Facts(int32_t stream) const;
};

// Runs the generation on the calling thread, with at most so many steps in a wave.
Generated Generate(const v1::GenerateRequest& request, engine::BaselineCache& cache,
                   size_t wave_tasks);
// Runs it without a cache, with three steps in a wave.
Generated Generate(const v1::GenerateRequest& request);

}  // namespace scalpel::test

#endif  // SCALPEL_TESTS_UNIT_SUPPORT_TINY_GENERATE_H_
