// Loads a model folder.

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

// A model on its device, ready to run.
struct LoadedModel {
  spec::ModelFacts facts;
  std::unique_ptr<const model::Gpt2> gpt2;
  int threads;  // that compute on the CPU
};

// Opens the device, sets the number of CPU threads of the calling thread, and reads config.json,
// the weights and the tokenizer. An unusable tokenizer is not an error: the problem is logged and
// stored in the facts. Returns the status of what failed first, with a message of one line that
// names the file or flag: NOT_FOUND if there is no such folder, INTERNAL for an exception, and the
// codes of model::OpenDevice, UseVectors, ReadModelFile, ParseConfig and LoadWeights.
absl::StatusOr<LoadedModel> LoadModel(const Config& config);

// Runs one token through the engine, so that it allocates its buffers before the first request.
// Returns the status of that run.
absl::Status WarmUp(const spec::ModelFacts& facts, engine::Scheduler& scheduler);

}  // namespace scalpel

#endif  // SCALPEL_SERVER_PROGRAM_LOADED_MODEL_H_
