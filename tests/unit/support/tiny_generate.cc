#include "tests/unit/support/tiny_generate.h"

#include <cstring>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "server/engine/generate_job.h"
#include "tests/unit/support/tiny.h"

namespace scalpel::test {

v1::GenerateRequest GenerationOf(const std::string& text) {
  return FromText<v1::GenerateRequest>(
      absl::StrCat("prompts { token_ids { ids: [1, 2, 3, 4] } } "
                   "prompts { token_ids { ids: [5, 6, 7] } } ",
                   text));
}

std::shared_ptr<const spec::Generation> CompileGenerationOrThrow(
    const v1::GenerateRequest& request) {
  auto generation = spec::CompileGeneration(request, TinyFacts(), Limits());
  if (!generation.ok()) throw std::invalid_argument(generation.status().ToString());
  return *std::move(generation);
}

std::vector<v1::GeneratedToken> Generated::Tokens(int32_t stream) const {
  std::vector<v1::GeneratedToken> tokens;
  for (const engine::Event& event : events) {
    if (!event.generate || !event.generate->has_token()) continue;
    if (event.generate->token().stream() == stream) tokens.push_back(event.generate->token());
  }
  return tokens;
}

std::vector<int32_t> Generated::Ids(int32_t stream) const {
  std::vector<int32_t> ids;
  for (const v1::GeneratedToken& token : Tokens(stream)) ids.push_back(token.id());
  return ids;
}

v1::StreamFinished Generated::Finished(int32_t stream) const {
  for (const engine::Event& event : events) {
    if (event.generate && event.generate->has_stream_finished() &&
        event.generate->stream_finished().stream() == stream)
      return event.generate->stream_finished();
  }
  throw std::out_of_range(absl::StrCat("stream ", stream, " has not ended"));
}

v1::InterventionReport Generated::Report(int32_t index) const {
  for (const engine::Event& event : events) {
    if (event.generate && event.generate->has_intervention_report() &&
        event.generate->intervention_report().index() == index)
      return event.generate->intervention_report();
  }
  throw std::out_of_range(absl::StrCat("no report of intervention ", index));
}

const v1::GenerateFinished& Generated::End() const {
  if (events.empty() || !events.back().generate || !events.back().generate->has_finished())
    throw std::out_of_range("the generation has not ended");
  return events.back().generate->finished();
}

at::Tensor Generated::Tensor(int32_t stream, int32_t step, const std::string& name) const {
  for (const engine::Event& event : events) {
    if (!event.tensor || event.tensor->header.name() != name || event.step->stream != stream ||
        event.step->step != step)
      continue;
    const v1::TensorHeader& header = event.tensor->header;
    at::Tensor tensor =
        at::empty(std::vector<int64_t>(header.shape().begin(), header.shape().end()), at::kFloat);
    std::memcpy(tensor.mutable_data_ptr(), event.tensor->bytes.data(), event.tensor->bytes.size());
    return tensor;
  }
  throw std::out_of_range(absl::StrCat("no tensor ", name, " of stream ", stream, " step ", step));
}

std::vector<std::string> Generated::Facts(int32_t stream) const {
  std::vector<std::string> facts;
  for (const engine::Event& event : events) {
    if (event.tensor) {
      if (event.step->stream != stream) continue;
      facts.push_back(absl::StrCat(event.step->step, " ", event.tensor->header.SerializeAsString(),
                                   std::string(event.tensor->bytes)));
    } else if (event.generate->step().stream() == stream && event.generate->has_step()) {
      facts.push_back(event.generate->SerializeAsString());
    } else if (event.generate->token().stream() == stream && event.generate->has_token()) {
      facts.push_back(event.generate->SerializeAsString());
    } else if (event.generate->stream_finished().stream() == stream &&
               event.generate->has_stream_finished()) {
      facts.push_back(event.generate->SerializeAsString());
    }
  }
  return facts;
}

Generated Generate(const v1::GenerateRequest& request, engine::BaselineCache& cache,
                   size_t wave_tasks) {
  const auto stream = std::make_shared<engine::EventStream>();
  const auto job = std::make_shared<engine::GenerateJob>(stream, CompileGenerationOrThrow(request),
                                                         TinyGpt2().config());
  RunToEnd(*job, cache, wave_tasks);
  Generated generated;
  while (std::optional<engine::Event> event = stream->Pop())
    generated.events.push_back(*std::move(event));
  return generated;
}

Generated Generate(const v1::GenerateRequest& request) {
  engine::BaselineCache nothing(0, 0);
  return Generate(request, nothing, 3);
}

}  // namespace scalpel::test
