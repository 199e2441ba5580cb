// Fuzzes requests, from their validation to their last event. The input is a RunRequest or a
// SweepRequest as JSON; what can be read as both is both. A request is refused with a status of the
// contract, or it runs on a small model to its end, within the bytes, the memory and the time that
// were announced, and gives the same answer again from a warm cache.

#include <c10/core/InferenceMode.h>
#include <google/protobuf/util/json_util.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "server/engine/non_finite.h"
#include "server/engine/run_job.h"
#include "server/engine/sweep_job.h"
#include "server/model/weights.h"
#include "server/spec/sweep.h"
#include "server/spec/weight.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate_message.h"
#include "tests/fuzz/peak_memory.h"
#include "tests/unit/support/tiny.h"

namespace {

using google::protobuf::Message;
using scalpel::fuzz::CpuSeconds;
namespace engine = scalpel::engine;
namespace model = scalpel::model;
namespace spec = scalpel::spec;
namespace v1 = scalpel::v1;

constexpr int64_t kRecordBytesMax = 1 << 20;
// What sanitizers make of the times for which estimates are made, and what is no estimate's.
constexpr double kSlower = 100, kOtherSeconds = 2;
constexpr double kCompileSeconds = 0.5, kCompileByteSeconds = 50e-6;
// Objects of the engine, and messages that are larger in memory than on the wire.
constexpr int64_t kOtherBytes = 4 << 20;

// The shape of the bundled model, whose requests the seeds are, with narrow layers.
struct Small {
  spec::ModelFacts facts{.name = "small", .config = {}, .tokenizer = {}, .weights_sha256 = "w"};
  std::unique_ptr<const model::Gpt2> gpt2;
  scalpel::Limits limits;

  Small() {
    model::Gpt2Config& config = facts.config;
    config.d_head = 2;
    config.d_model = 24;
    config.d_mlp = 40;
    config.n_ctx = 64;
    config.vocab_size = 2048;
    facts.tokenizer = *model::Tokenizer::Load("deploy/demo-model");
    gpt2 = std::make_unique<const model::Gpt2>(config, model::RandomWeights(config, 7), at::kCPU);
    limits->set_max_tokens(200);
    limits->set_max_variants(150);
    limits->set_max_places(5000);
    limits->set_max_sweep_places(20000);
    limits->set_max_response_bytes(16 << 20);
    limits->set_max_activation_bytes(512 << 20);
  }
};

const Small& TheSmall() {
  static const auto* small = new Small;
  return *small;
}

// Runs a job as the scheduler does, with a few tasks in a wave. Throws what a task fails with.
std::vector<engine::Event> RunToEnd(engine::Job& job, engine::BaselineCache& cache) {
  const c10::InferenceMode inference_only;
  const model::Gpt2& gpt2 = *TheSmall().gpt2;
  while (!job.AllDone()) {
    engine::Wave wave;
    while (wave.size() < 3) {
      std::optional<engine::Task> task = job.NextTask();
      if (!task) break;
      wave.push_back(*std::move(task));
      engine::Prepare(wave.back(), gpt2.config(), cache, kRecordBytesMax);
    }
    HOLDS(!wave.empty());
    engine::RunWave(gpt2, cache, wave, [] {});
    for (const engine::Task& task : wave) {
      if (task.failure != nullptr) std::rethrow_exception(task.failure);
    }
  }
  job.Finish([&](const spec::Plan& plan, int32_t row) {
    return engine::FindFirstNonFinite(gpt2, plan, row, [] { return true; });
  });
  std::vector<engine::Event> events;
  while (std::optional<engine::Event> event = job.stream().Pop())
    events.push_back(*std::move(event));
  return events;
}

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

template <typename Request, typename Compile>
auto CheckCompile(const Request& request, size_t size, Compile compile) {
  const double begin = CpuSeconds();
  auto compiled = compile(request, TheSmall().facts, TheSmall().limits, spec::AlwaysWanted);
  HOLDS(CpuSeconds() - begin <= kCompileSeconds + kCompileByteSeconds * static_cast<double>(size));
  if (!compiled.ok()) {
    const absl::Status status = compiled.status();
    HOLDS(absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
          absl::IsNotFound(status) || absl::IsResourceExhausted(status));
    // It may quote the caller's own text, with its line breaks.
    HOLDS(scalpel::fuzz::IsUtf8({status.message().data(), status.message().size()}));
  }
  return compiled;
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

template <typename Request>
bool Read(std::string_view json, Request* request) {
  return google::protobuf::util::JsonStringToMessage(std::string(json), request).ok();
}

// Writes a changed message where its JSON has room; returns its size, or 0.
size_t Write(const Message& message, uint8_t* data, size_t max_size) {
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  if (!MessageToJsonString(message, &json, options).ok() || json.size() > max_size) return 0;
  std::copy(json.begin(), json.end(), data);
  return json.size();
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  std::mt19937 random(seed);
  v1::RunRequest run;
  v1::SweepRequest sweep;
  Message* message = nullptr;
  if (Read(scalpel::fuzz::Text(data, size), &run)) message = &run;
  if ((message == nullptr || random() % 2 == 0) && Read(scalpel::fuzz::Text(data, size), &sweep))
    message = &sweep;
  if (message == nullptr) return LLVMFuzzerMutate(data, size, max_size);
  scalpel::fuzz::Mutate(message, random);
  const size_t written = Write(*message, data, max_size);
  return written > 0 ? written : size;
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t max_size, unsigned int seed) {
  std::mt19937 random(seed);
  const auto cross = [&](auto first, auto second) -> size_t {
    if (!Read(scalpel::fuzz::Text(data1, size1), &first) ||
        !Read(scalpel::fuzz::Text(data2, size2), &second))
      return 0;
    scalpel::fuzz::CrossOver(&first, second, random);
    return Write(first, out, max_size);
  };
  const size_t run = cross(v1::RunRequest(), v1::RunRequest());
  return run > 0 ? run : cross(v1::SweepRequest(), v1::SweepRequest());
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json = scalpel::fuzz::Text(data, size);
  if (v1::RunRequest request; Read(json, &request)) Check(request, size);
  if (v1::SweepRequest request; Read(json, &request)) Check(request, size);
  return 0;
}
