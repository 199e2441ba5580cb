#include "server/spec/plan.h"

#include <openssl/sha.h>

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "server/spec/compile.h"
#include "server/spec/cost.h"

namespace scalpel::spec {
namespace {

// Refuses what is too much before anything is looked at in detail.
void CheckCounts(const v1::RunRequest& request, const Limits& limits, Violations& violations) {
  const auto check = [&](absl::string_view field, int count, int32_t most) {
    if (count > most)
      violations.Add(field, absl::StrCat("has ", count, " entries, at most ", most,
                                         " are allowed; split the request"));
  };
  check("prompts", request.prompts_size(), limits.prompts_max);
  check("interventions", request.interventions_size(), limits.interventions_max);
  check("probes", request.probes_size(), limits.probes_max);
  check("captures", request.captures_size(), limits.captures_max);
}

void CheckTokens(const Plan& plan, const Limits& limits, Violations& violations) {
  int64_t tokens = 0;
  for (const auto& row : plan.tokens) tokens += static_cast<int64_t>(row.size());
  if (tokens > limits.tokens_max) {
    violations.Add("prompts", absl::StrCat(tokens, " tokens in ", plan.rows.size(),
                                           " rows (clean runs included), at most ",
                                           limits.tokens_max, " are allowed; split the request"));
  }
}

std::string Digest(const v1::RunRequest& request, const std::string& weights_sha256) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  bytes += weights_sha256;
  unsigned char hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), hash);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(hash), sizeof(hash)));
}

void FillStarted(const ModelFacts& facts, Plan& plan) {
  v1::Started& started = plan.started;
  *started.mutable_normalized() = plan.request;
  started.set_digest(Digest(plan.request, facts.weights_sha256));
  for (int prompt = 0; prompt < plan.request.prompts_size(); ++prompt) {
    v1::TokenizedPrompt* tokenized = started.add_prompts();
    for (const int32_t id : plan.tokens[prompt]) {
      tokenized->add_ids(id);
      if (facts.tokenizer) tokenized->add_tokens(facts.tokenizer->TokenText(id));
    }
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Plan>> Compile(const v1::RunRequest& request,
                                                    const ModelFacts& facts, const Limits& limits) {
  if (!request.model().empty() && request.model() != facts.name) {
    return absl::NotFoundError(absl::StrCat("model: this server has \"", facts.name,
                                            "\"; leave the field out, or ask GetModel"));
  }
  Violations violations(limits.violations_max);
  CheckCounts(request, limits, violations);
  if (!violations.empty()) return violations.ToStatus();

  auto plan = std::make_shared<Plan>();
  plan->request = request;
  plan->tokenizer = facts.tokenizer ? &*facts.tokenizer : nullptr;
  plan->request.set_model(facts.name);
  plan->request.set_seed(request.seed());
  Compilation c{facts, limits, violations, *plan};
  CompilePrompts(c);
  CompileRows(c);
  CheckTokens(*plan, limits, violations);
  CompileInterventions(c);
  CompileObservations(c);
  CompileOutputs(c);
  if (!violations.empty()) return violations.ToStatus();

  FillStarted(facts, *plan);
  *plan->started.mutable_cost() = EstimateCost(*plan, facts.config);
  if (absl::Status status = CheckCost(*plan, plan->started.cost(), facts.config, limits);
      !status.ok())
    return status;
  return plan;
}

}  // namespace scalpel::spec
