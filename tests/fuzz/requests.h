// What the fuzzers of requests share: a small model, jobs that run to their end, and requests as
// JSON.

#ifndef SCALPEL_TESTS_FUZZ_REQUESTS_H_
#define SCALPEL_TESTS_FUZZ_REQUESTS_H_

#include <c10/core/InferenceMode.h>
#include <google/protobuf/util/json_util.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "server/engine/job.h"
#include "server/engine/non_finite.h"
#include "server/engine/wave.h"
#include "server/model/weights.h"
#include "server/spec/compile.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/mutate_message.h"

namespace scalpel::fuzz {

// What sanitizers make of the times for which estimates are made, and what is no estimate's.
inline constexpr double kSlower = 100, kOtherSeconds = 2;
inline constexpr double kCompileSeconds = 0.5, kCompileByteSeconds = 50e-6;
inline constexpr int64_t kRecordBytesMax = 1 << 20;

// The shape of the bundled model, whose requests the seeds are, with narrow layers.
struct Small {
  spec::ModelFacts facts{.name = "small", .config = {}, .tokenizer = {}, .weights_sha256 = "w"};
  std::unique_ptr<const model::Gpt2> gpt2;
  Limits limits;

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

inline const Small& TheSmall() {
  static const auto* small = new Small;
  return *small;
}

// Runs a job as the scheduler does, with so many tasks in a wave. Throws what a task fails with.
inline std::vector<engine::Event> RunToEnd(engine::Job& job, engine::BaselineCache& cache,
                                           size_t tasks = 3) {
  const c10::InferenceMode inference_only;
  const model::Gpt2& gpt2 = *TheSmall().gpt2;
  while (!job.AllDone()) {
    engine::Wave wave;
    while (wave.size() < tasks) {
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
    HOLDS(IsUtf8({status.message().data(), status.message().size()}));
  }
  return compiled;
}

template <typename Request>
bool Read(std::string_view json, Request* request) {
  return google::protobuf::util::JsonStringToMessage(std::string(json), request).ok();
}

// Writes a changed message where its JSON has room; returns its size, or 0.
inline size_t Write(const google::protobuf::Message& message, uint8_t* data, size_t max_size) {
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  if (!MessageToJsonString(message, &json, options).ok() || json.size() > max_size) return 0;
  std::copy(json.begin(), json.end(), data);
  return json.size();
}

// Changes the JSON of a message by its fields; the size that it has then, or 0: it is none, or has
// no room.
template <typename Request>
size_t MutateJson(uint8_t* data, size_t size, size_t max_size, std::mt19937& random) {
  Request request;
  if (!Read(Text(data, size), &request)) return 0;
  Mutate(&request, random);
  return Write(request, data, max_size);
}

template <typename Request>
size_t CrossJson(std::string_view one, std::string_view other, uint8_t* out, size_t max_size,
                 std::mt19937& random) {
  Request first, second;
  if (!Read(one, &first) || !Read(other, &second)) return 0;
  CrossOver(&first, second, random);
  return Write(first, out, max_size);
}

}  // namespace scalpel::fuzz

#endif  // SCALPEL_TESTS_FUZZ_REQUESTS_H_
