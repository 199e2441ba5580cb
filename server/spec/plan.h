// The meaning of a request: everything in it validated against the model, and unfolded into what
// happens at each layer and site.

#ifndef SCALPEL_SERVER_SPEC_PLAN_H_
#define SCALPEL_SERVER_SPEC_PLAN_H_

#include <algorithm>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/scalpel/v1/run.pb.h"
#include "server/contract/limits.h"
#include "server/model/config.h"
#include "server/model/site.h"
#include "server/model/tensor.h"
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

// What one intervention does, wherever it applies.
struct Edit {
  std::string name;  // comes back in its report
  // Normalised. Which operation, with its numbers: only spec/ops reads it. Without the place, which
  // became steps, and without tensors.
  v1::Intervention intervention;
  // The tensor of the request (add, set, project_out), float32 on the CPU; undefined where there is
  // none.
  at::Tensor operand;
  double element_ns = 0;  // an estimate of what an element of the target takes, in nanoseconds
};

// Values that a step reads besides those it changes: of the step's own site, in the step's row or
// in another. In the step's own layer they are read as they stand when the step applies; in an
// earlier layer, as all steps there have left them (see SitePlan::kept_rows).
struct Source {
  int32_t row;
  int32_t layer;
  std::shared_ptr<const Region> region;
};

// A query and a key, both counted from the start of the prompt.
struct AttentionPair {
  int64_t query, key;
  auto operator<=>(const AttentionPair&) const = default;
};

// One edit at one layer, site and row.
struct Step {
  int32_t edit = 0;  // index in Plan::edits
  int32_t row = 0;
  std::shared_ptr<const Region> target;
  std::optional<Source> source = {};
  // At an attention site, the only entries of the target that may change, each once and ascending;
  // null: all with key <= query.
  std::shared_ptr<const std::vector<AttentionPair>> pairs = {};
};

// The tensors that leave for one capture, or for one output that is a whole activation: an element
// of a block's output tuple, or an entry of the hidden states.
struct TensorOutput {
  v1::TensorHeader header;  // what all of them have in common; the rows and the value say the rest
  v1::DataType dtype = v1::DATA_TYPE_FLOAT32;
  // Whether the rows lie along an axis of their own, in front. Else a tensor is of one row.
  bool batched = false;
  // Which element of its block's output tuple it is.
  std::optional<int32_t> tuple_element = {};
};

// Something that is read at one layer and site, and what becomes of it: the numbers of a probe, or
// a tensor that leaves.
struct Observation {
  enum class Kind { kProbe, kTensor };
  Kind kind;
  int32_t index;                              // in Plan::probes or in Plan::tensors
  absl::InlinedVector<int32_t, 2> rows = {};  // of equal length and kind; one, unless it is batched
  std::shared_ptr<const Region> region = {};  // the same part of each row
  // For a probe that compares with the clean run: its row, of which the same part is read.
  std::optional<int32_t> clean_row = {};

  bool Reads(int32_t row) const {
    return clean_row == row || std::find(rows.begin(), rows.end(), row) != rows.end();
  }
};

// What happens at one site in one layer. Steps and probes are in the request's order; of tensors,
// whole outputs come before captures.
struct SitePlan {
  std::vector<Step> steps;
  std::vector<Observation> before, after;  // the steps
  // Rows whose value (after all steps) a step in a later layer reads.
  std::vector<int32_t> kept_rows;
};

// How the logits at Plan::logit_positions come back: one of these, or none of them in a sweep,
// which makes metrics of them.
struct LogitsOutput {
  std::optional<v1::DataType> full;  // all of them, as a tensor of this type
  int32_t top_k = 0;                 // the largest of each position
  std::vector<int32_t> ids;          // those of these tokens
};

// What it takes to carry a plan out, estimated (see weight.h).
struct Weight {
  int64_t plan_bytes = 0;        // of the plan itself
  int64_t activation_bytes = 0;  // alive at once while it runs
  // Of observations and steps: the model's own time is known by the positions that it computes.
  double observation_seconds = 0;
  // The same, as the number of positions that the model computes in that time.
  int64_t observation_positions = 0;
};

// A request as the engine carries it out. The engine reads nothing else: no operation, no default
// and no index from an axis's end is left to be understood. Immutable and safe to share between
// threads; pure data, made without the model's weights.
struct Plan {
  std::vector<PlanRow> rows;
  std::vector<std::vector<int32_t>> tokens;                   // by row
  std::vector<Edit> edits;                                    // by intervention
  std::vector<v1::Probe> probes;                              // normalised, without their places
  std::vector<TensorOutput> tensors;                          // captures first
  std::map<std::pair<int32_t, model::Site>, SitePlan> sites;  // by (layer or model::kNoLayer, site)

  // Positions whose logits come back, in the order asked, by row; empty when none do.
  std::vector<std::vector<int64_t>> logit_positions;
  LogitsOutput logits;

  const model::Tokenizer* tokenizer = nullptr;  // of the ModelFacts; nullptr: the model has none

  Weight weight;

  // What there is to do at a site; null: nothing.
  const SitePlan* Find(int32_t layer, model::Site site) const {
    const auto found = sites.find({layer, site});
    return found == sites.end() ? nullptr : &found->second;
  }

  // The first event of the answer; request_id is the caller's to fill in. Not of a sweep's plans.
  v1::Started started;
};

// Asks whether the caller still waits; any status but OK ends the compilation, and is its result.
using Wanted = absl::FunctionRef<absl::Status()>;
inline absl::Status AlwaysWanted() { return absl::OkStatus(); }

// Validates `request` and compiles it. Errors carry google.rpc details as payloads (see
// base/errors.h): INVALID_ARGUMENT with every violation; FAILED_PRECONDITION (all that is wrong is
// what this model has not); NOT_FOUND (another model's name); RESOURCE_EXHAUSTED (the estimate of
// the response, of the memory, or of the time beside the model's own exceeds its limit). `wanted`
// is asked before each intervention, probe and capture.
absl::StatusOr<std::shared_ptr<const Plan>> Compile(const v1::RunRequest& request,
                                                    const ModelFacts& facts, const Limits& limits,
                                                    Wanted wanted = AlwaysWanted);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_PLAN_H_
