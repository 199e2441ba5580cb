#include "server/spec/plan.h"

#include <utility>

#include "server/spec/compile.h"
#include "server/spec/cost.h"
#include "server/spec/weight.h"

namespace scalpel::spec {

absl::StatusOr<std::shared_ptr<const Plan>> Compile(const v1::RunRequest& request,
                                                    const ModelFacts& facts, const Limits& limits,
                                                    Wanted wanted) {
  if (absl::Status status = CheckModel(request.model(), facts); !status.ok()) return status;
  Violations violations(limits->max_violations());
  // Refuses what is too much before anything is looked at in detail.
  CheckCount(violations, "prompts", request.prompts_size(), limits->max_prompts());
  CheckCount(violations, "interventions", request.interventions_size(),
             limits->max_interventions());
  CheckCount(violations, "probes", request.probes_size(), limits->max_probes());
  CheckCount(violations, "captures", request.captures_size(), limits->max_captures());
  if (!violations.empty()) return violations.ToStatus();

  auto plan = std::make_shared<Plan>();
  plan->tokenizer = facts.tokenizer ? &*facts.tokenizer : nullptr;
  v1::RunRequest& normalized = *plan->started.mutable_normalized();
  normalized = request;
  normalized.set_model(facts.name);
  normalized.set_seed(request.seed());
  if (request.prompts().empty()) violations.Add("prompts", "is empty; give at least one prompt");
  PromptTokens prompts;
  CompilePrompts(facts, "prompts", violations, normalized.mutable_prompts(), &prompts);
  Compilation c{facts, limits, wanted, violations, prompts, normalized, *plan};
  CompileRows(c);
  CompileInterventions(c);
  CompileObservations(c);
  CompileOutputs(c);
  CheckTokens(c);
  if (absl::Status left = wanted(); !left.ok()) return left;
  if (!violations.empty()) return violations.ToStatus();

  plan->started.set_digest(Digest(normalized, facts));
  FillTokenized(facts, prompts, plan->started.mutable_prompts());
  Weigh(facts.config, *plan);
  *plan->started.mutable_cost() = EstimateCost(*plan, facts.config);
  if (absl::Status status = CheckCost(*plan, limits); !status.ok()) return status;
  return plan;
}

}  // namespace scalpel::spec
