// A generation: its request validated against the model, its streams, and the plan of each step.

#ifndef SCALPEL_SERVER_SPEC_GENERATION_H_
#define SCALPEL_SERVER_SPEC_GENERATION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/scalpel/v1/generate.pb.h"
#include "server/base/violations.h"
#include "server/contract/limits.h"
#include "server/spec/compile.h"
#include "server/spec/plan.h"
#include "server/spec/steps.h"

namespace scalpel::spec {

// One continuation of one prompt.
struct GenerationStream {
  int32_t prompt, continuation;
  bool unsteered;  // runs without interventions
};

// Immutable once compiled; safe to share between threads.
class Generation {
 public:
  // Normalised.
  const v1::GenerateRequest& request() const { return request_; }
  // request_id is the caller's to fill in.
  const v1::GenerateStarted& started() const { return started_; }
  // By prompt, then continuation; a twin follows its stream.
  const std::vector<GenerationStream>& streams() const { return streams_; }
  // Tokens, by prompt.
  const PromptTokens& prompts() const { return prompts_; }
  const model::Tokenizer* tokenizer() const {
    return facts_->tokenizer ? &*facts_->tokenizer : nullptr;
  }
  const v1::Sampling& sampling() const { return request_.sampling(); }
  uint64_t seed() const { return request_.seed(); }
  // Tokens that end a stream, and texts that do.
  const std::vector<int32_t>& stop_ids() const { return stop_ids_; }
  std::vector<std::string> stop_strings() const {
    return {request_.stop().strings().begin(), request_.stop().strings().end()};
  }
  // New tokens of a stream.
  int32_t tokens_min() const { return request_.stop().min_new_tokens(); }
  int32_t tokens_max() const { return request_.stop().max_new_tokens(); }
  // By intervention, in the order of the request.
  std::vector<std::string> intervention_names() const;
  // The index of a probe in the request, by its name, which no other has. A step leaves out the
  // probes of other steps, and so counts its own anew.
  int32_t ProbeIndex(const std::string& name) const;

  // The most positions that a stream computes: those of its prompt, and of all new tokens but the
  // last.
  int64_t LengthMax(const GenerationStream& stream) const;
  // Whether a stream's keys and values are kept from step to step. Else each step is a run of the
  // whole sequence.
  bool KeepsKeys(const GenerationStream& stream) const;
  // Whether the logits of each step are sent.
  bool SendsLogits() const { return request_.has_logits() && !request_.logits().has_none(); }

  // The plan of one step: row 0 is the sequence so far, of the prompt's tokens and `step` new ones,
  // and only positions that the step computes are looked at or edited. The logits of the last
  // position come back. Made anew at each call, which is quick. Throws std::logic_error if it is
  // not valid, which the compilation of the request has ruled out.
  std::shared_ptr<const Plan> StepPlan(const GenerationStream& stream, int32_t step,
                                       absl::Span<const int32_t> tokens) const;

 private:
  friend class GenerationCompiler;

  // What a step asks for, of the whole request: with places narrowed to what the step computes.
  // `acting`: by intervention.
  v1::RunRequest StepRequest(const GenerationStream& stream, const StepView& view,
                             std::vector<bool>* acting) const;
  // The plan of what StepRequest gives, with the violations of a Run. `places`: what has been
  // unfolded so far, to which its own is added.
  std::shared_ptr<Plan> CompileStep(const GenerationStream& stream, const StepView& view,
                                    int64_t* places, Violations& violations) const;

  const ModelFacts* facts_ = nullptr;
  Limits limits_;
  v1::GenerateRequest request_;
  v1::GenerateStarted started_;
  PromptTokens prompts_;
  std::vector<GenerationStream> streams_;
  std::vector<int32_t> stop_ids_;
};

// Validates `request` and compiles it. Errors as of Compile, and RESOURCE_EXHAUSTED if its keys and
// values take more than is set aside for all calls.
absl::StatusOr<std::shared_ptr<const Generation>> CompileGeneration(
    const v1::GenerateRequest& request, const ModelFacts& facts, const Limits& limits,
    Wanted wanted = AlwaysWanted);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_GENERATION_H_
