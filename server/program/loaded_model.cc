#include "server/program/loaded_model.h"

#include <spdlog/spdlog.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/base/utf8.h"
#include "server/engine/run_job.h"
#include "server/model/config.h"
#include "server/model/device.h"
#include "server/model/model_file.h"
#include "server/model/tensor.h"
#include "server/model/tokenizer.h"
#include "server/model/weights.h"

namespace scalpel {
namespace {

namespace fs = std::filesystem;

// A model without a usable tokenizer is served, too: prompts can be token ids.
void LoadTokenizer(const fs::path& folder, spec::ModelFacts* facts) {
  absl::StatusOr<model::Tokenizer> tokenizer = model::Tokenizer::Load(folder);
  if (tokenizer.ok()) {
    facts->tokenizer = *std::move(tokenizer);
    return;
  }
  facts->tokenizer_problem = std::string(tokenizer.status().message());
  spdlog::warn("prompts have to be token ids: {}", OneLine(facts->tokenizer_problem));
}

absl::StatusOr<LoadedModel> LoadFolder(const Config& config) {
  absl::StatusOr<at::Device> device = model::OpenDevice(config.device);
  if (!device.ok()) return device.status();
  if (absl::Status vectors = model::UseVectors(config.vectors); !vectors.ok()) return vectors;
  LoadedModel loaded;
  loaded.threads = model::SetThreads(config.threads);

  absl::StatusOr<std::string> json =
      model::ReadModelFile(config.model, "config.json", model::kConfigBytesMax);
  if (!json.ok()) return json.status();
  absl::StatusOr<model::Gpt2Config> architecture = model::ParseConfig(*json);
  if (!architecture.ok()) return architecture.status();
  loaded.facts.name = config.model_name;
  loaded.facts.config = *architecture;
  LoadTokenizer(config.model, &loaded.facts);
  absl::StatusOr<model::Weights> weights = model::LoadWeights(config.model, *architecture);
  if (!weights.ok()) return weights.status();

  loaded.facts.weights_sha256 = weights->sha256;
  loaded.gpt2 = std::make_unique<const model::Gpt2>(*architecture, *std::move(weights), *device);
  return loaded;
}

}  // namespace

absl::StatusOr<LoadedModel> LoadModel(const Config& config) {
  std::error_code error;
  if (!fs::is_directory(config.model, error)) {
    return absl::NotFoundError(absl::StrCat("--model: ", config.model.string(),
                                            " is not a folder; give the one with config.json"));
  }
  try {
    return LoadFolder(config);
  } catch (const c10::Error& failure) {
    return absl::InternalError(failure.what_without_backtrace());
  } catch (const std::exception& failure) {
    return absl::InternalError(failure.what());
  }
}

absl::Status WarmUp(const spec::ModelFacts& facts, engine::Scheduler& scheduler) {
  v1::RunRequest request;
  request.add_prompts()->mutable_token_ids()->add_ids(0);
  auto plan = spec::Compile(request, facts, Limits());
  if (!plan.ok()) return plan.status();

  const auto stream = std::make_shared<engine::EventStream>("warm-up");
  absl::Status status =
      scheduler.Submit(std::make_shared<engine::RunJob>(stream, *std::move(plan)));
  if (!status.ok()) return status;
  scheduler.WaitIdle(absl::InfiniteDuration());
  stream->Cancel();  // drops the events, so that End returns the status
  return *stream->End();
}

}  // namespace scalpel
