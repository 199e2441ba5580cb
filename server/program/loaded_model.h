// A model folder, loaded onto its device and ready to run.

#ifndef SCALPEL_SERVER_PROGRAM_LOADED_MODEL_H_
#define SCALPEL_SERVER_PROGRAM_LOADED_MODEL_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/config/config.h"
#include "server/engine/scheduler.h"
#include "server/model/gpt2.h"
#include "server/spec/plan.h"

namespace scalpel {

struct LoadedModel {
  spec::ModelFacts facts;
  std::unique_ptr<const model::Gpt2> gpt2;
  int threads;  // that compute on the CPU; set for the calling thread
};

// Opens the device and reads config.json, the weights and the tokenizer. A tokenizer that cannot be
// used is no error: it is logged, and the facts say why. Every message is one line that names the
// file or flag.
absl::StatusOr<LoadedModel> LoadModel(const Config& config);

// Runs one token through the engine, which makes it allocate what it keeps.
absl::Status WarmUp(const spec::ModelFacts& facts, engine::Scheduler& scheduler);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_LOADED_MODEL_H_
