#include "tests/unit/support/tiny.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/non_finite.h"
#include "server/engine/run_job.h"
#include "server/engine/wave.h"
#include "server/kernels/targets.h"
#include "server/model/weights.h"

namespace scalpel::test {
namespace {

at::ScalarType TypeOf(v1::DataType dtype) {
  if (dtype == v1::DATA_TYPE_FLOAT16) return at::kHalf;
  return dtype == v1::DATA_TYPE_BFLOAT16 ? at::kBFloat16 : at::kFloat;
}

template <typename Message>
int32_t LayerOf(const Message& message) {
  return message.has_layer() ? message.layer() : model::kNoLayer;
}

bool HasBatchAxis(const v1::TensorHeader& header) {
  return header.kind() != v1::TENSOR_KIND_CAPTURE && header.kind() != v1::TENSOR_KIND_LOGITS;
}

void AddFacts(const engine::TensorEvent& tensor, std::map<std::string, std::string>& facts) {
  const v1::TensorHeader& header = tensor.header;
  const size_t size = tensor.bytes.size() / header.prompts_size();
  for (int i = 0; i < header.prompts_size(); ++i) {
    facts[absl::StrCat(header.name(), " layer ", LayerOf(header), " prompt ", header.prompts(i),
                       " clean ", header.clean())] = tensor.bytes.substr(i * size, size);
  }
}

void AddFacts(const v1::RunResponse& message, std::map<std::string, std::string>& facts) {
  for (const v1::ProbeResult& result : message.layer_statistics().results()) {
    facts[absl::StrCat("probe ", result.name(), " layer ", LayerOf(result), " prompt ",
                       result.prompt(), " clean ", result.clean())] = result.SerializeAsString();
  }
  if (message.has_logits()) {
    const v1::Logits& logits = message.logits();
    facts[absl::StrCat("logits prompt ", logits.prompt(), " clean ", logits.clean())] =
        logits.SerializeAsString();
  }
  if (message.has_intervention_report()) {
    const v1::InterventionReport& report = message.intervention_report();
    facts[absl::StrCat("report ", report.index())] = report.SerializeAsString();
  }
}

}  // namespace

model::Gpt2Config TinyConfig() {
  model::Gpt2Config config;
  config.n_layer = 3;
  config.n_head = 3;
  config.d_head = 4;
  config.d_model = 12;
  config.d_mlp = 37;
  config.n_ctx = 24;
  config.vocab_size = 53;
  return config;
}

const spec::ModelFacts& TinyFacts() {
  static const auto* facts = new spec::ModelFacts{
      .name = "tiny", .config = TinyConfig(), .tokenizer = std::nullopt, .weights_sha256 = "w"};
  return *facts;
}

const model::Gpt2& TinyGpt2() {
  static auto* by_target = new std::map<std::string_view, std::unique_ptr<const model::Gpt2>>();
  std::unique_ptr<const model::Gpt2>& gpt2 = (*by_target)[kernels::Target()];
  if (gpt2 == nullptr) {
    gpt2 = std::make_unique<const model::Gpt2>(TinyConfig(), model::RandomWeights(TinyConfig(), 7),
                                               at::kCPU);
  }
  return *gpt2;
}

v1::RunRequest RequestOf(const std::string& text) {
  return FromText<v1::RunRequest>(
      absl::StrCat("prompts { token_ids { ids: [1, 2, 3, 4] } } "
                   "prompts { token_ids { ids: [5, 6, 7] } } ",
                   text));
}

std::shared_ptr<const spec::Plan> CompileOrThrow(const v1::RunRequest& request) {
  auto plan = spec::Compile(request, TinyFacts(), Limits());
  if (!plan.ok()) throw std::invalid_argument(plan.status().ToString());
  return *std::move(plan);
}

at::Tensor Answer::Tensor(const std::string& name, int32_t prompt, int32_t layer,
                          bool clean) const {
  for (const engine::Event& event : events) {
    if (!event.tensor || event.tensor->header.name() != name) continue;
    const v1::TensorHeader& header = event.tensor->header;
    const auto found = std::find(header.prompts().begin(), header.prompts().end(), prompt);
    if (LayerOf(header) != layer || header.clean() != clean || found == header.prompts().end()) {
      continue;
    }
    at::Tensor tensor = at::empty(
        std::vector<int64_t>(header.shape().begin(), header.shape().end()), TypeOf(header.dtype()));
    std::memcpy(tensor.mutable_data_ptr(), event.tensor->bytes.data(), event.tensor->bytes.size());
    return HasBatchAxis(header) ? tensor.select(0, found - header.prompts().begin()) : tensor;
  }
  throw std::out_of_range(
      absl::StrCat("no tensor ", name, " of prompt ", prompt, " layer ", layer));
}

v1::ProbeResult Answer::Probe(const std::string& name, int32_t prompt, int32_t layer,
                              bool clean) const {
  for (const engine::Event& event : events) {
    for (const v1::ProbeResult& result : event.message.layer_statistics().results()) {
      if (result.name() == name && result.prompt() == prompt && LayerOf(result) == layer &&
          result.clean() == clean) {
        return result;
      }
    }
  }
  throw std::out_of_range(absl::StrCat("no probe ", name, " of prompt ", prompt, " layer ", layer));
}

v1::Logits Answer::Logits(int32_t prompt, bool clean) const {
  for (const engine::Event& event : events) {
    const v1::Logits& logits = event.message.logits();
    if (event.message.has_logits() && logits.prompt() == prompt && logits.clean() == clean) {
      return logits;
    }
  }
  throw std::out_of_range(absl::StrCat("no logits of prompt ", prompt));
}

v1::InterventionReport Answer::Report(int32_t index) const {
  for (const engine::Event& event : events) {
    if (event.message.has_intervention_report() &&
        event.message.intervention_report().index() == index) {
      return event.message.intervention_report();
    }
  }
  throw std::out_of_range(absl::StrCat("no report of intervention ", index));
}

std::map<std::string, std::string> Answer::Facts() const {
  std::map<std::string, std::string> facts;
  for (const engine::Event& event : events) {
    if (event.tensor) {
      AddFacts(*event.tensor, facts);
    } else {
      AddFacts(event.message, facts);
    }
  }
  return facts;
}

int64_t Answer::WireBytes() const {
  constexpr int64_t kFrameBytes = 5;  // gRPC's prefix to each message
  int64_t bytes = 0;
  for (const engine::Event& event : events) {
    v1::RunResponse message = event.message;
    if (event.tensor) {  // small enough for one chunk
      v1::TensorChunk* chunk = message.mutable_tensor_chunk();
      *chunk->mutable_header() = event.tensor->header;
      chunk->set_tensor_id(event.tensor->header.tensor_id());
      chunk->set_data(std::string(event.tensor->bytes));
    }
    bytes += kFrameBytes + static_cast<int64_t>(message.ByteSizeLong());
  }
  return bytes;
}

void RunOrThrow(engine::Wave& wave, engine::BaselineCache& cache) {
  const c10::InferenceMode inference_only;
  for (engine::Task& task : wave) engine::Prepare(task, TinyGpt2().config(), cache, 1 << 30);
  engine::RunWave(TinyGpt2(), cache, wave, [] {});
  for (const engine::Task& task : wave) {
    if (task.failure != nullptr) std::rethrow_exception(task.failure);
  }
}

void Finish(engine::Job& job) {
  const c10::InferenceMode inference_only;
  job.Finish([](const spec::Plan& plan, int32_t row) {
    return engine::FindFirstNonFinite(TinyGpt2(), plan, row, [] { return true; });
  });
}

void RunToEnd(engine::Job& job, engine::BaselineCache& cache, size_t wave_tasks) {
  while (!job.AllDone()) {
    engine::Wave wave;
    while (wave.size() < wave_tasks) {
      std::optional<engine::Task> task = job.NextTask();
      if (!task) break;
      wave.push_back(*std::move(task));
    }
    if (wave.empty()) throw std::logic_error("nothing is left to do, and it is not finished");
    RunOrThrow(wave, cache);
  }
  Finish(job);
}

std::vector<Answer> Ask(const std::vector<std::shared_ptr<const spec::Plan>>& plans,
                        engine::BaselineCache& cache) {
  std::vector<std::shared_ptr<engine::EventStream>> streams;
  std::vector<std::shared_ptr<engine::Job>> jobs;
  engine::Wave wave;
  for (const auto& plan : plans) {
    streams.push_back(std::make_shared<engine::EventStream>());
    jobs.push_back(std::make_shared<engine::RunJob>(streams.back(), plan));
    wave.push_back(*jobs.back()->NextTask());
  }
  RunOrThrow(wave, cache);
  std::vector<Answer> answers(plans.size());
  for (size_t i = 0; i < plans.size(); ++i) {
    Finish(*jobs[i]);
    while (std::optional<engine::Event> event = streams[i]->Pop())
      answers[i].events.push_back(*std::move(event));
  }
  return answers;
}

Answer Ask(const std::shared_ptr<const spec::Plan>& plan) {
  engine::BaselineCache nothing(0, 0);
  return Ask(std::vector{plan}, nothing)[0];
}

Answer Ask(const v1::RunRequest& request) { return Ask(CompileOrThrow(request)); }
Answer Ask(const std::string& text) { return Ask(RequestOf(text)); }

bool SameBits(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  return std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

double Distance(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.to(at::kDouble), right = b.to(at::kDouble);
  return (left - right).abs().max().item<double>() / right.abs().max().item<double>();
}

}  // namespace scalpel::test
