// Fuzzes requests, from their validation to their last event. The input is a RunRequest or a
// SweepRequest as JSON; what can be read as both is both. A request is refused with a status of the
// contract, or it runs on a small model to its end, within the bytes, the memory and the time that
// were announced, and gives the same answer again from a warm cache.

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "server/engine/run_job.h"
#include "server/engine/sweep_job.h"
#include "server/spec/sweep.h"
#include "server/spec/weight.h"
#include "tests/fuzz/peak_memory.h"
#include "tests/fuzz/requests.h"
#include "tests/unit/support/tiny.h"

namespace {

using scalpel::fuzz::CheckCompile;
using scalpel::fuzz::CpuSeconds;
using scalpel::fuzz::kOtherSeconds;
using scalpel::fuzz::kRecordBytesMax;
using scalpel::fuzz::kSlower;
using scalpel::fuzz::Read;
using scalpel::fuzz::RunToEnd;
using scalpel::fuzz::TheSmall;
namespace engine = scalpel::engine;
namespace spec = scalpel::spec;
namespace v1 = scalpel::v1;

// Objects of the engine, and messages that are larger in memory than on the wire.
constexpr int64_t kOtherBytes = 4 << 20;

// What comes back, by what it is, and what it is on the wire.
struct Answer {
  std::map<std::string, std::string> facts;
  int64_t bytes = 0;
};

Answer AnswerOf(const std::shared_ptr<const spec::Plan>& plan, engine::BaselineCache& cache) {
  const auto job = std::make_shared<engine::RunJob>(std::make_shared<engine::EventStream>(), plan);
  const scalpel::test::Answer answer{RunToEnd(*job, cache)};
  return {answer.Facts(), answer.WireBytes() + static_cast<int64_t>(plan->started.ByteSizeLong())};
}

Answer AnswerOf(const std::shared_ptr<const spec::Sweep>& sweep, engine::BaselineCache& cache) {
  const auto job =
      std::make_shared<engine::SweepJob>(std::make_shared<engine::EventStream>(), sweep);
  Answer answer{{}, static_cast<int64_t>(sweep->started().ByteSizeLong())};
  for (const engine::Event& event : RunToEnd(*job, cache)) {
    answer.bytes += 5 + static_cast<int64_t>(event.sweep->ByteSizeLong());
    if (event.sweep->has_clean()) answer.facts["clean"] = event.sweep->clean().SerializeAsString();
    const v1::VariantResult& variant = event.sweep->variant();
    if (event.sweep->has_variant())
      HOLDS(answer.facts.emplace(std::to_string(variant.index()), variant.SerializeAsString())
                .second);
  }
  HOLDS(answer.facts.size() == static_cast<size_t>(sweep->variants()) + 1);
  return answer;
}

int64_t TokensOf(const v1::Cost& cost) { return cost.tokens() + cost.rows(); }

// The time of a run's observations and steps; of a sweep's, at most the same for each variant.
double ObservationSeconds(const spec::Plan& plan) { return plan.weight.observation_seconds; }
double ObservationSeconds(const spec::Sweep& sweep) {
  double seconds = ObservationSeconds(*sweep.base());
  for (int32_t i = 0; i < sweep.variants(); ++i)
    seconds += ObservationSeconds(*sweep.VariantPlan(i));
  return seconds;
}
int64_t ActivationBytes(const spec::Plan& plan) { return plan.weight.activation_bytes; }
int64_t ActivationBytes(const spec::Sweep& sweep) {
  int64_t bytes = 0;
  for (int32_t i = 0; i < sweep.variants(); ++i) {
    const auto plan = sweep.VariantPlan(i);
    bytes = std::max(bytes, plan->weight.activation_bytes + plan->weight.plan_bytes);
  }
  return ActivationBytes(*sweep.base()) + 3 * bytes;  // with three in a wave
}

template <typename Compiled>
void CheckRun(const std::shared_ptr<const Compiled>& compiled, const v1::Cost& cost) {
  const int64_t memory = ActivationBytes(*compiled) + 2 * cost.response_bytes() + kOtherBytes;
  const double seconds = ObservationSeconds(*compiled) +
                         spec::kPositionSecondsMin * static_cast<double>(TokensOf(cost));
  engine::BaselineCache cache(kRecordBytesMax, TheSmall().facts.config.n_layer);
  const double begin = CpuSeconds();
  const scalpel::fuzz::PeakMemory peak;
  const Answer cold = AnswerOf(compiled, cache);
  HOLDS(peak.bytes() <= memory);
  HOLDS(CpuSeconds() - begin <= kSlower * seconds + kOtherSeconds);
  HOLDS(cold.bytes <= cost.response_bytes());
  const Answer warm = AnswerOf(compiled, cache);
  HOLDS(warm.facts == cold.facts);
}

void Check(const v1::RunRequest& request, size_t size) {
  const auto plan = CheckCompile(request, size, spec::Compile);
  if (!plan.ok()) return;
  // The normal form of a request is a request that means the same.
  const v1::Started& started = (*plan)->started;
  const auto again = CheckCompile(started.normalized(), size, spec::Compile);
  HOLDS(again.ok() && (*again)->started.digest() == started.digest());
  CheckRun(*plan, started.cost());
}

void Check(const v1::SweepRequest& request, size_t size) {
  const auto sweep = CheckCompile(request, size, spec::CompileSweep);
  if (sweep.ok()) CheckRun(*sweep, (*sweep)->started().cost());
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  std::mt19937 random(seed);
  const bool sweep_first = random() % 2 == 0;
  using Change = size_t (*)(uint8_t*, size_t, size_t, std::mt19937&);
  const Change run = scalpel::fuzz::MutateJson<v1::RunRequest>,
               sweep = scalpel::fuzz::MutateJson<v1::SweepRequest>;
  for (const Change change : {sweep_first ? sweep : run, sweep_first ? run : sweep}) {
    if (const size_t written = change(data, size, max_size, random); written > 0) return written;
  }
  return LLVMFuzzerMutate(data, size, max_size);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t max_size, unsigned int seed) {
  std::mt19937 random(seed);
  const std::string_view one = scalpel::fuzz::Text(data1, size1),
                         other = scalpel::fuzz::Text(data2, size2);
  const size_t run = scalpel::fuzz::CrossJson<v1::RunRequest>(one, other, out, max_size, random);
  if (run > 0) return run;
  return scalpel::fuzz::CrossJson<v1::SweepRequest>(one, other, out, max_size, random);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json = scalpel::fuzz::Text(data, size);
  if (v1::RunRequest request; Read(json, &request)) Check(request, size);
  if (v1::SweepRequest request; Read(json, &request)) Check(request, size);
  return 0;
}
