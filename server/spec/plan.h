// The meaning of a request: everything in it validated against the model, and unfolded into what
// happens at each layer and site.

#ifndef SCALPEL_SERVER_SPEC_PLAN_H_
#define SCALPEL_SERVER_SPEC_PLAN_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/scalpel/v1/service.pb.h"
#include "server/base/limits.h"
#include "server/model/config.h"
#include "server/model/site.h"
#include "server/model/tokenizer.h"
#include "server/spec/selection.h"

namespace scalpel::spec {

// What a request is validated against. Outlives every Plan made with it.
struct ModelFacts {
  std::string name;
  model::Gpt2Config config;
  std::optional<model::Tokenizer> tokenizer;
  std::string weights_sha256;
  // Why there is no tokenizer; it means nothing where there is one.
  std::string tokenizer_problem = "the model's folder has no tokenizer";
};

// A row of the forward pass: one prompt, with its interventions or clean. Rows of one request are
// numbered: first the prompts in order, then the clean rows.
struct PlanRow {
  int32_t prompt;
  bool clean;
};

// One intervention's part at one layer, site and row.
struct Step {
  int32_t intervention = 0;  // index in Plan::request
  int32_t row = 0;
  std::shared_ptr<const Region> target;
  // Mean: what is averaged over. Patch: what is read, and in which row and layer.
  std::shared_ptr<const Region> source;
  int32_t source_row = 0;
  int32_t source_layer = model::kNoLayer;
};

// One probe's or capture's part at one layer, site and row.
struct Observation {
  int32_t index;  // in Plan::request.probes() or .captures()
  int32_t row;
  std::shared_ptr<const Region> region;
  std::optional<int32_t> clean_row;  // probes with a statistic against the clean run
};

// What happens at one site in one layer. Every list is in the request's order.
struct SitePlan {
  std::vector<Step> steps;
  std::vector<Observation> probes_before, probes_after;
  std::vector<Observation> captures_before, captures_after;
  // Rows whose value (after all steps) a patch in a later layer reads.
  std::vector<int32_t> kept_rows;
};

// A batch of rows of equal length and kind: the batch axis of block outputs and hidden states.
struct LengthGroup {
  std::vector<int32_t> rows;
  bool clean;
};

// Immutable; safe to share between threads. Pure data, made without the model's weights.
struct Plan {
  // Normalised: prompts are token ids, places have a site and lists, names and defaults are filled
  // in.
  v1::RunRequest request;
  // Operands of interventions (add, set, project_out), float32 on the CPU; undefined where there is
  // none. One for each intervention.
  std::vector<at::Tensor> operands;
  std::vector<PlanRow> rows;
  std::vector<std::vector<int32_t>> tokens;                   // by row
  std::map<std::pair<int32_t, model::Site>, SitePlan> sites;  // by (layer or model::kNoLayer, site)
  std::vector<LengthGroup> groups;

  const model::Tokenizer* tokenizer = nullptr;  // of the ModelFacts; nullptr: the model has none

  // Positions whose logits come back, in the order asked, by row; empty when none do.
  std::vector<std::vector<int64_t>> logit_positions;
  // By layer: whether its output tuple comes back.
  std::vector<bool> block_outputs;

  v1::Started started;  // request_id is the caller's to fill in
};

// Validates `request` and compiles it. Errors carry google.rpc details as payloads (see
// spec/violations.h): INVALID_ARGUMENT with every violation; UNIMPLEMENTED; NOT_FOUND (another
// model's name); RESOURCE_EXHAUSTED (the response's estimate exceeds the limit).
absl::StatusOr<std::shared_ptr<const Plan>> Compile(const v1::RunRequest& request,
                                                    const ModelFacts& facts, const Limits& limits);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_PLAN_H_
