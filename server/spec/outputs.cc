#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/spec/compile.h"

namespace scalpel::spec {
namespace {

// Fills in the default form; false after a violation.
bool CheckForm(Compilation& c, v1::LogitsRequest* logits) {
  const int64_t vocab = c.facts.config.vocab_size;
  switch (logits->form_case()) {
    case v1::LogitsRequest::FORM_NOT_SET:
      logits->mutable_top_k()->set_k(static_cast<int32_t>(std::min<int64_t>(10, vocab)));
      return true;
    case v1::LogitsRequest::kFull:
      NormalizeDataType(c, logits->mutable_full(), "logits.full");
      return true;
    case v1::LogitsRequest::kTopK: {
      const int64_t most = std::min<int64_t>(c.limits.top_k_max, vocab);
      if (logits->top_k().k() >= 1 && logits->top_k().k() <= most) return true;
      c.violations.Add("logits.top_k.k",
                       absl::StrCat(logits->top_k().k(), " is outside [1, ", most, "]"));
      return false;
    }
    case v1::LogitsRequest::kIds: {
      const auto& ids = logits->ids().ids();
      if (ids.empty() || ids.size() > c.limits.top_k_max) {
        c.violations.Add("logits.ids.ids",
                         absl::StrCat("has ", ids.size(), " ids; give 1 to ", c.limits.top_k_max));
        return false;
      }
      for (int i = 0; i < ids.size(); ++i) {
        if (ids[i] >= 0 && ids[i] < vocab) continue;
        c.violations.Add(absl::StrCat("logits.ids.ids[", i, "]"),
                         absl::StrCat(ids[i], " is outside [0, ", vocab, ")"));
        return false;
      }
      return true;
    }
    case v1::LogitsRequest::kNone:
      return false;
  }
  return false;
}

void CompileLogits(Compilation& c) {
  v1::LogitsRequest* logits = c.plan.request.mutable_logits();
  if (!CheckForm(c, logits)) return;
  if (!logits->has_positions()) logits->mutable_positions()->mutable_indices()->add_values(-1);
  for (size_t row = 0; row < c.plan.rows.size(); ++row) {
    if (c.plan.rows[row].clean && !c.plan.request.include_clean_run()) continue;
    if (c.plan.tokens[row].empty()) continue;
    const auto positions = ResolvePositions(&logits->positions(), c.plan.tokens[row],
                                            "logits.positions", c.violations);
    if (!positions) return;
    c.plan.logit_positions[row] = positions->ToVector();
  }
}

void CompileBlockOutputs(Compilation& c) {
  v1::RunRequest& request = c.plan.request;
  if (request.output_attentions()) request.mutable_block_outputs();
  if (request.has_block_outputs()) {
    v1::BlockOutputs* outputs = request.mutable_block_outputs();
    NormalizeDataType(c, outputs, "block_outputs");
    const auto layers = ResolveList(outputs->layers(), c.facts.config.n_layer,
                                    "block_outputs.layers", c.violations);
    if (!layers) return;
    outputs->mutable_layers()->Assign(layers->begin(), layers->end());
    for (const int32_t layer : *layers) c.plan.block_outputs[layer] = true;
  }
}

// Rows that come back together in block outputs and hidden states.
void CompileGroups(Compilation& c) {
  std::map<std::pair<bool, size_t>, LengthGroup> groups;  // edited before clean, then by length
  for (size_t row = 0; row < c.plan.rows.size(); ++row) {
    const bool clean = c.plan.rows[row].clean;
    // Clean rows that only serve as a reference are not sent back.
    if (clean && !c.plan.request.include_clean_run()) continue;
    LengthGroup& group = groups[{clean, c.plan.tokens[row].size()}];
    group.clean = clean;
    group.rows.push_back(static_cast<int32_t>(row));
  }
  for (auto& [key, group] : groups) c.plan.groups.push_back(std::move(group));
}

}  // namespace

void CompileOutputs(Compilation& c) {
  CompileGroups(c);
  c.plan.logit_positions.resize(c.plan.rows.size());
  c.plan.block_outputs.assign(c.facts.config.n_layer, false);
  CompileLogits(c);
  CompileBlockOutputs(c);
}

}  // namespace scalpel::spec
