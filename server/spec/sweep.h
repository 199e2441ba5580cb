// The meaning of a sweep: everything in it validated, its clean runs a Plan, and each of its
// variants another.

#ifndef SCALPEL_SERVER_SPEC_SWEEP_H_
#define SCALPEL_SERVER_SPEC_SWEEP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/scalpel/v1/sweep.pb.h"
#include "server/contract/limits.h"
#include "server/spec/compile.h"
#include "server/spec/grid.h"
#include "server/spec/plan.h"

namespace scalpel::spec {

// Immutable once compiled; safe to share between threads.
class Sweep {
 public:
  // Normalised.
  const v1::SweepRequest& request() const { return request_; }
  // request_id is the caller's to fill in.
  const v1::SweepStarted& started() const { return started_; }

  // Tokens of the prompts that variants run on, then of the sources.
  const PromptTokens& prompts() const { return prompts_; }
  // The position that a metric reads in a prompt. Not of a loss.
  int64_t MetricPosition(size_t metric, int32_t prompt) const {
    return metric_positions_[prompt][metric];
  }
  // How many of the prompts variants run on.
  int32_t edited_prompts() const { return request_.prompts_size(); }
  // Whether each variant tells what its interventions did.
  bool reports() const { return request_.reports(); }
  const model::Tokenizer* tokenizer() const { return base_->tokenizer; }

  // The clean runs: row i is that of prompt i, with logits where some metric reads them. Its probes
  // are those of the request, on the prompts that variants run on.
  const std::shared_ptr<const Plan>& base() const { return base_; }

  int32_t variants() const { return variants_; }
  // One variant: rows of the prompts that it runs on, then the clean rows that it reads; logits
  // where some metric reads them. Made anew at each call, because ten thousand at once would be
  // large, and making one is quick.
  std::shared_ptr<const Plan> VariantPlan(int32_t index) const;
  // In front of `interventions` in the paths of the variant's fields.
  std::string InterventionsPrefix(int32_t index) const;
  // Empty in a grid.
  std::string VariantName(int32_t index) const;
  // An index into each axis of the grid; empty for a list.
  std::vector<int32_t> Coordinates(int32_t index) const;

 private:
  friend class SweepCompiler;

  // What the clean runs and every variant ask alike, apart from probes.
  v1::RunRequest RunOf() const;
  struct VariantSize {
    int64_t places = 0;  // that it unfolds into
    int64_t work = 0;    // how long it took to check, in places; also of an invalid one
  };
  // Compiles the variant into a copy of what all share.
  Plan CompileVariant(int32_t index, Wanted wanted, Violations& violations,
                      VariantSize* size) const;

  const ModelFacts* facts_ = nullptr;
  Limits limits_;
  v1::SweepRequest request_;
  v1::SweepStarted started_;
  PromptTokens prompts_;
  std::vector<std::vector<int64_t>> metric_positions_;  // by prompt and metric
  std::shared_ptr<const Plan> base_;
  std::optional<ResolvedGrid> grid_;
  int32_t variants_ = 0;
  // A variant without interventions, and as far as its compilation had come.
  Plan shared_;
  std::vector<int32_t> shared_clean_row_;
  int64_t shared_places_ = 0;
};

// Validates `request` and compiles it. Errors as of Compile, with the paths of a list's fields as
// `variants.variants[3].interventions[0]...`, and of a grid's as `grid.interventions[0]...`.
absl::StatusOr<std::shared_ptr<const Sweep>> CompileSweep(const v1::SweepRequest& request,
                                                          const ModelFacts& facts,
                                                          const Limits& limits,
                                                          Wanted wanted = AlwaysWanted);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_SWEEP_H_
