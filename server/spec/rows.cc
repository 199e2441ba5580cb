#include <utility>

#include "absl/strings/str_cat.h"
#include "server/spec/compile.h"

namespace scalpel::spec {
namespace {

std::vector<int32_t> CheckIds(const ModelFacts& facts, Violations& violations,
                              const v1::TokenIds& ids, absl::string_view field) {
  for (int i = 0; i < ids.ids_size(); ++i) {
    if (ids.ids(i) < 0 || ids.ids(i) >= facts.config.vocab_size) {
      violations.Add(absl::StrCat(field, ".token_ids.ids[", i, "]"),
                     absl::StrCat(ids.ids(i), " is outside [0, ", facts.config.vocab_size, ")"));
      return {};
    }
  }
  return {ids.ids().begin(), ids.ids().end()};
}

std::vector<int32_t> EncodeText(const ModelFacts& facts, Violations& violations,
                                const std::string& text, absl::string_view field) {
  const std::string text_field = absl::StrCat(field, ".text");
  if (!facts.tokenizer) {
    violations.AddUnmet(text_field, absl::StrCat(facts.tokenizer_problem, "; give `token_ids`"));
    return {};
  }
  const auto ids = facts.tokenizer->Encode(text, static_cast<size_t>(facts.config.n_ctx));
  if (!ids.ok()) {
    violations.Add(text_field, ids.status().message());
    return {};
  }
  for (const int32_t id : *ids) {
    if (id >= facts.config.vocab_size) {
      violations.Add(text_field,
                     absl::StrCat("holds token ", id, ", which the model's vocabulary of ",
                                  facts.config.vocab_size, " lacks"));
      return {};
    }
  }
  return *ids;
}

std::vector<int32_t> CompilePrompt(const ModelFacts& facts, Violations& violations,
                                   const v1::Prompt& prompt, absl::string_view field) {
  std::vector<int32_t> ids;
  const int before = violations.count();
  switch (prompt.content_case()) {
    case v1::Prompt::kText:
      ids = EncodeText(facts, violations, prompt.text(), field);
      break;
    case v1::Prompt::kTokenIds:
      ids = CheckIds(facts, violations, prompt.token_ids(), field);
      break;
    case v1::Prompt::CONTENT_NOT_SET:
      violations.Add(field, "has no content; give `text` or `token_ids`");
      break;
  }
  if (violations.count() == before && ids.empty())
    violations.Add(field, "has no tokens; a prompt has at least one");
  if (static_cast<int64_t>(ids.size()) > facts.config.n_ctx) {
    violations.Add(field, absl::StrCat("has ", ids.size(), " tokens; the model takes at most ",
                                       facts.config.n_ctx));
    ids.clear();
  }
  return ids;
}

}  // namespace

void CompilePrompts(const ModelFacts& facts, absl::string_view field, Violations& violations,
                    google::protobuf::RepeatedPtrField<v1::Prompt>* prompts, PromptTokens* tokens) {
  for (int i = 0; i < prompts->size(); ++i) {
    v1::Prompt* prompt = prompts->Mutable(i);
    std::vector<int32_t> ids =
        CompilePrompt(facts, violations, *prompt, absl::StrCat(field, "[", i, "]"));
    prompt->mutable_token_ids()->mutable_ids()->Assign(ids.begin(), ids.end());
    tokens->push_back(std::move(ids));
  }
}

void CompileRows(Compilation& c) {
  c.clean_row.assign(c.prompts.size(), -1);
  for (int32_t prompt = 0; prompt < c.edited_prompts(); ++prompt) {
    if (!c.Runs(prompt)) continue;
    c.plan.rows.push_back({prompt, /*clean=*/false});
    c.plan.tokens.push_back(c.prompts[prompt]);
  }
  if (!c.request.include_clean_run()) return;
  for (int32_t prompt = 0; prompt < c.edited_prompts(); ++prompt) CleanRow(c, prompt);
}

int32_t CleanRow(Compilation& c, int32_t prompt) {
  if (c.clean_row[prompt] < 0) {
    c.clean_row[prompt] = static_cast<int32_t>(c.plan.rows.size());
    c.plan.rows.push_back({prompt, /*clean=*/true});
    c.plan.tokens.push_back(c.prompts[prompt]);
  }
  return c.clean_row[prompt];
}

void CheckTokens(Compilation& c) {
  int64_t tokens = 0;
  for (const auto& row : c.plan.tokens) tokens += static_cast<int64_t>(row.size());
  if (tokens <= c.limits->max_tokens()) return;
  c.violations.Add("prompts",
                   absl::StrCat(tokens, " tokens in ", c.plan.rows.size(),
                                " rows (clean runs included), at most ", c.limits->max_tokens(),
                                " are allowed; split the request"));
}

}  // namespace scalpel::spec
