#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/spec/compile.h"
#include "server/spec/stats.h"

namespace scalpel::spec {
namespace {

std::vector<int32_t> CheckIds(Compilation& c, const v1::TokenIds& ids, absl::string_view field) {
  for (int i = 0; i < ids.ids_size(); ++i) {
    if (ids.ids(i) < 0 || ids.ids(i) >= c.facts.config.vocab_size) {
      c.violations.Add(
          absl::StrCat(field, ".token_ids.ids[", i, "]"),
          absl::StrCat(ids.ids(i), " is outside [0, ", c.facts.config.vocab_size, ")"));
      return {};
    }
  }
  return {ids.ids().begin(), ids.ids().end()};
}

std::vector<int32_t> EncodeText(Compilation& c, const std::string& text, absl::string_view field) {
  const std::string text_field = absl::StrCat(field, ".text");
  if (!c.facts.tokenizer) {
    c.violations.Add(text_field, "the model's folder has no tokenizer; give `token_ids`");
    return {};
  }
  const auto ids = c.facts.tokenizer->Encode(text, static_cast<size_t>(c.facts.config.n_ctx));
  if (!ids.ok()) {
    c.violations.Add(text_field, ids.status().message());
    return {};
  }
  for (const int32_t id : *ids) {
    if (id >= c.facts.config.vocab_size) {
      c.violations.Add(text_field,
                       absl::StrCat("holds token ", id, ", which the model's vocabulary of ",
                                    c.facts.config.vocab_size, " lacks"));
      return {};
    }
  }
  return *ids;
}

std::vector<int32_t> CompilePrompt(Compilation& c, const v1::Prompt& prompt,
                                   absl::string_view field) {
  std::vector<int32_t> ids;
  const int before = c.violations.count();
  switch (prompt.content_case()) {
    case v1::Prompt::kText:
      ids = EncodeText(c, prompt.text(), field);
      break;
    case v1::Prompt::kTokenIds:
      ids = CheckIds(c, prompt.token_ids(), field);
      break;
    case v1::Prompt::CONTENT_NOT_SET:
      c.violations.Add(field, "has no content; give `text` or `token_ids`");
      break;
  }
  if (c.violations.count() == before && ids.empty())
    c.violations.Add(field, "has no tokens; a prompt has at least one");
  if (static_cast<int64_t>(ids.size()) > c.facts.config.n_ctx) {
    c.violations.Add(field, absl::StrCat("has ", ids.size(), " tokens; the model takes at most ",
                                         c.facts.config.n_ctx));
    ids.clear();
  }
  return ids;
}

// By prompt: whether its clean run is needed.
std::vector<bool> CleanPrompts(const v1::RunRequest& request) {
  const int prompts = request.prompts_size();
  std::vector<bool> clean(prompts, request.include_clean_run());
  const auto mark = [&](int32_t prompt) {
    if (prompt >= 0 && prompt < prompts) clean[prompt] = true;
  };
  for (const v1::Probe& probe : request.probes()) {
    if (!NeedsClean(probe)) continue;
    if (probe.place().where().prompts().empty()) clean.assign(prompts, true);
    for (const int32_t prompt : probe.place().where().prompts()) mark(prompt);
  }
  for (const v1::Intervention& intervention : request.interventions()) {
    if (intervention.patch().source_case() == v1::Patch::kCleanPrompt)
      mark(intervention.patch().clean_prompt());
  }
  return clean;
}

}  // namespace

void CompilePrompts(Compilation& c) {
  if (c.plan.request.prompts().empty())
    c.violations.Add("prompts", "is empty; give at least one prompt");
  for (int i = 0; i < c.plan.request.prompts_size(); ++i) {
    v1::Prompt* prompt = c.plan.request.mutable_prompts(i);
    std::vector<int32_t> ids = CompilePrompt(c, *prompt, absl::StrCat("prompts[", i, "]"));
    prompt->mutable_token_ids()->mutable_ids()->Assign(ids.begin(), ids.end());
    c.plan.tokens.push_back(std::move(ids));
  }
}

void CompileRows(Compilation& c) {
  const int prompts = c.plan.request.prompts_size();
  const std::vector<bool> clean = CleanPrompts(c.plan.request);
  c.clean_row.assign(prompts, -1);
  for (int i = 0; i < prompts; ++i) c.plan.rows.push_back({i, /*clean=*/false});
  for (int i = 0; i < prompts; ++i) {
    if (!clean[i]) continue;
    c.clean_row[i] = static_cast<int32_t>(c.plan.rows.size());
    c.plan.rows.push_back({i, /*clean=*/true});
    c.plan.tokens.push_back(std::vector<int32_t>(c.plan.tokens[i]));
  }
  std::map<std::pair<bool, size_t>, LengthGroup> groups;  // edited before clean, then by length
  for (size_t row = 0; row < c.plan.rows.size(); ++row) {
    LengthGroup& group = groups[{c.plan.rows[row].clean, c.plan.tokens[row].size()}];
    group.clean = c.plan.rows[row].clean;
    group.rows.push_back(static_cast<int32_t>(row));
  }
  for (auto& [key, group] : groups) {
    // Clean rows that only serve as a reference are not sent back.
    if (!group.clean || c.plan.request.include_clean_run())
      c.plan.groups.push_back(std::move(group));
  }
}

}  // namespace scalpel::spec
