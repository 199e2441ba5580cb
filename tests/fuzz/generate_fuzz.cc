// Fuzzes generations, from their validation to their last event. The input is a GenerateRequest as
// JSON. It is refused with a status of the contract, or every step of every stream compiles and
// runs on a small model, within the bytes that were announced; and it gives the same answer again
// from a warm cache, with other steps beside each.

#include <map>
#include <memory>
#include <random>
#include <string>

#include "server/engine/generate_job.h"
#include "server/spec/generation.h"
#include "tests/fuzz/requests.h"

namespace {

using scalpel::fuzz::Read;
using scalpel::fuzz::TheSmall;
namespace engine = scalpel::engine;
namespace spec = scalpel::spec;
namespace v1 = scalpel::v1;

// What comes back of each stream, in order, and what all of it is on the wire.
struct Answer {
  std::map<int32_t, std::string> facts;
  int64_t bytes = 0;
};

Answer AnswerOf(const std::shared_ptr<const spec::Generation>& generation,
                engine::BaselineCache& cache, size_t tasks) {
  const auto job = std::make_shared<engine::GenerateJob>(std::make_shared<engine::EventStream>(),
                                                         generation, TheSmall().facts.config);
  Answer answer{{}, static_cast<int64_t>(generation->started().ByteSizeLong())};
  for (const engine::Event& event : scalpel::fuzz::RunToEnd(*job, cache, tasks)) {
    if (event.tensor) {
      answer.bytes +=
          static_cast<int64_t>(event.tensor->header.ByteSizeLong() + event.tensor->bytes.size());
      answer.facts[event.step->stream] += std::string(event.tensor->bytes);
      continue;
    }
    const v1::GenerateResponse& message = *event.generate;
    answer.bytes += static_cast<int64_t>(message.ByteSizeLong());
    const int32_t stream = message.has_step()              ? message.step().stream()
                           : message.has_token()           ? message.token().stream()
                           : message.has_stream_finished() ? message.stream_finished().stream()
                                                           : -1;
    if (stream >= 0) answer.facts[stream] += message.SerializeAsString();
  }
  HOLDS(answer.facts.size() == generation->streams().size());
  return answer;
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  std::mt19937 random(seed);
  const size_t written =
      scalpel::fuzz::MutateJson<v1::GenerateRequest>(data, size, max_size, random);
  return written > 0 ? written : LLVMFuzzerMutate(data, size, max_size);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t max_size, unsigned int seed) {
  std::mt19937 random(seed);
  return scalpel::fuzz::CrossJson<v1::GenerateRequest>(
      scalpel::fuzz::Text(data1, size1), scalpel::fuzz::Text(data2, size2), out, max_size, random);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  v1::GenerateRequest request;
  if (!Read(scalpel::fuzz::Text(data, size), &request)) return 0;
  const auto compiled = scalpel::fuzz::CheckCompile(request, size, spec::CompileGeneration);
  if (!compiled.ok()) return 0;
  const std::shared_ptr<const spec::Generation> generation = *compiled;
  // The normal form of a request is a request that means the same.
  const v1::GenerateStarted& started = generation->started();
  const auto again =
      scalpel::fuzz::CheckCompile(started.normalized(), size, spec::CompileGeneration);
  HOLDS(again.ok() && (*again)->started().digest() == started.digest());
  engine::BaselineCache cache(scalpel::fuzz::kRecordBytesMax, TheSmall().facts.config.n_layer);
  const Answer cold = AnswerOf(generation, cache, 1);
  HOLDS(cold.bytes <= started.cost().response_bytes());
  HOLDS(AnswerOf(generation, cache, 5).facts == cold.facts);
  return 0;
}
