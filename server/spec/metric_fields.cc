#include "server/spec/metric_fields.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace scalpel::spec {
namespace {

using v1::Metric;
using Ids = google::protobuf::RepeatedField<int32_t>;
using Texts = google::protobuf::RepeatedPtrField<std::string>;

// A text must be one token. More are encoded so that the error can say how many it is.
constexpr size_t kTextTokensMax = 16;

// Reports the first id that is outside the vocabulary.
void CheckIds(Compilation& c, const Ids& ids, const std::string& field) {
  for (int i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < c.facts.config.vocab_size) continue;
    c.violations.Add(absl::StrCat(field, "[", i, "]"),
                     absl::StrCat(ids[i], " is outside [0, ", c.facts.config.vocab_size, ")"));
    return;
  }
}

// Appends the token of each text to `ids` and clears `texts`. Returns false if a text is not one
// token.
bool ResolveTexts(Compilation& c, Texts* texts, Ids* ids, const std::string& field) {
  const int before = c.violations.count();
  if (!texts->empty() && !c.facts.tokenizer) {
    c.violations.AddUnmet(field, absl::StrCat(c.facts.tokenizer_problem, "; give token ids"));
    return false;
  }
  for (int i = 0; i < texts->size(); ++i) {
    const auto tokens = c.facts.tokenizer->Encode(texts->Get(i), kTextTokensMax);
    if (tokens.ok() && tokens->size() == 1) {
      ids->Add(tokens->front());
      continue;
    }
    c.violations.Add(absl::StrCat(field, "[", i, "]"),
                     tokens.ok() ? absl::StrCat("is ", tokens->size(),
                                                " tokens; give a text that is one, with the space "
                                                "before it if it has one")
                                 : std::string(tokens.status().message()));
  }
  texts->Clear();
  return c.violations.count() == before;
}

void CheckMetricTokens(Compilation& c, v1::MetricTokens* tokens, const std::string& field) {
  const int count = tokens->ids_size() + tokens->texts_size();
  if (count == 0 || count > c.limits->max_top_k()) {
    c.violations.Add(field,
                     absl::StrCat("names ", count, " tokens; name 1 to ", c.limits->max_top_k()));
    return;
  }
  if (ResolveTexts(c, tokens->mutable_texts(), tokens->mutable_ids(), field + ".texts"))
    CheckIds(c, tokens->ids(), field + ".ids");
}

// Checks that a list has one entry, or one for each prompt. Returns whether it has.
bool CheckPerPrompt(Compilation& c, int count, const std::string& field) {
  if (count == 1 || (count == c.edited_prompts() && count > 0)) return true;
  c.violations.Add(field, absl::StrCat("has ", count,
                                       " entries; give one for all prompts, or one for each of "
                                       "the ",
                                       c.edited_prompts()));
  return false;
}

// Checks the targets or the distractors of a difference, which are ids, or texts that become ids.
void CheckSide(Compilation& c, Ids* ids, const std::string& ids_field, Texts* texts,
               const std::string& texts_field) {
  if (!ids->empty() && !texts->empty()) {
    c.violations.Add(texts_field, absl::StrCat("is given together with ids, in `", ids_field,
                                               "`; give one of them"));
    return;
  }
  if (!CheckPerPrompt(c, ids->size() + texts->size(), texts->empty() ? ids_field : texts_field))
    return;
  if (ResolveTexts(c, texts, ids, texts_field)) CheckIds(c, *ids, ids_field);
}

// Checks both sides. Difference is LogitDiff or PatchingScore.
template <typename Difference>
void CheckDifference(Compilation& c, Difference* difference, const std::string& field) {
  CheckSide(c, difference->mutable_targets(), field + ".targets",
            difference->mutable_target_texts(), field + ".target_texts");
  CheckSide(c, difference->mutable_distractors(), field + ".distractors",
            difference->mutable_distractor_texts(), field + ".distractor_texts");
}

void CheckSources(Compilation& c, v1::PatchingScore* score, const std::string& field) {
  if (c.sources == 0) {
    c.violations.Add(field, "compares with a source; give `sources` in the request");
    return;
  }
  const std::string sources = absl::StrCat(field, ".sources");
  if (score->sources().empty()) {
    if (c.sources < c.edited_prompts()) {
      c.violations.Add(sources, absl::StrCat("is absent, which means source i for prompt i, but ",
                                             c.edited_prompts(), " prompts have only ", c.sources,
                                             " sources; name one for all, or one for each"));
      return;
    }
    for (int i = 0; i < c.edited_prompts(); ++i) score->add_sources(i);
  }
  if (!CheckPerPrompt(c, score->sources_size(), sources)) return;
  for (int i = 0; i < score->sources_size(); ++i) {
    if (score->sources(i) >= 0 && score->sources(i) < c.sources) continue;
    c.violations.Add(absl::StrCat(sources, "[", i, "]"),
                     absl::StrCat(score->sources(i), " is outside [0, ", c.sources, ")"));
  }
}

std::string PromptName(const Compilation& c, int32_t prompt) {
  return prompt < c.edited_prompts() ? absl::StrCat("prompts[", prompt, "]")
                                     : absl::StrCat("sources[", prompt - c.edited_prompts(), "]");
}

void CheckPosition(Compilation& c, Metric* metric, absl::string_view field) {
  if (!metric->has_position()) metric->set_position(-1);
  for (size_t prompt = 0; prompt < c.prompts.size(); ++prompt) {
    const auto length = static_cast<int64_t>(c.prompts[prompt].size());
    if (length == 0 || (metric->position() >= -length && metric->position() < length)) continue;
    c.violations.Add(absl::StrCat(field, ".position"),
                     absl::StrCat(metric->position(), " is outside [", -length, ", ", length,
                                  ") of ", PromptName(c, static_cast<int32_t>(prompt))));
    return;
  }
}

void CheckLoss(Compilation& c, const Metric& metric, absl::string_view field) {
  if (metric.has_position()) {
    c.violations.Add(absl::StrCat(field, ".position"),
                     "is given, but loss reads every position; leave the field out");
  }
  for (size_t prompt = 0; prompt < c.prompts.size(); ++prompt) {
    if (c.prompts[prompt].size() != 1) continue;
    c.violations.Add(absl::StrCat(field, ".loss"),
                     absl::StrCat(PromptName(c, static_cast<int32_t>(prompt)),
                                  " has a single token, and so no next one to predict"));
    return;
  }
}

void CheckKind(Compilation& c, Metric* metric, const std::string& field) {
  const int64_t k_max = std::min<int64_t>(c.limits->max_top_k(), c.facts.config.vocab_size);
  switch (metric->kind_case()) {
    case Metric::kLogits:
      return CheckMetricTokens(c, metric->mutable_logits(), field + ".logits");
    case Metric::kLogProbs:
      return CheckMetricTokens(c, metric->mutable_log_probs(), field + ".log_probs");
    case Metric::kProbabilities:
      return CheckMetricTokens(c, metric->mutable_probabilities(), field + ".probabilities");
    case Metric::kRanks:
      return CheckMetricTokens(c, metric->mutable_ranks(), field + ".ranks");
    case Metric::kLogitDiff:
      return CheckDifference(c, metric->mutable_logit_diff(), field + ".logit_diff");
    case Metric::kKlFromClean:
    case Metric::kTop1Agreement:
      return;
    case Metric::kTopK:
      if (metric->top_k().k() >= 1 && metric->top_k().k() <= k_max) return;
      c.violations.Add(field + ".top_k.k",
                       absl::StrCat(metric->top_k().k(), " is outside [1, ", k_max, "]"));
      return;
    case Metric::kLoss:
      return CheckLoss(c, *metric, field);
    case Metric::kPatchingScore:
      CheckDifference(c, metric->mutable_patching_score(), field + ".patching_score");
      return CheckSources(c, metric->mutable_patching_score(), field + ".patching_score");
    case Metric::KIND_NOT_SET:
      c.violations.Add(field,
                       "measures nothing; give one of `logits`, `log_probs`, "
                       "`probabilities`, `ranks`, `logit_diff`, `kl_from_clean`, "
                       "`top1_agreement`, `top_k`, `loss` and `patching_score`");
      return;
  }
}

}  // namespace

void CompileMetrics(Compilation& c, MetricList* metrics) {
  std::unordered_set<std::string> names;
  for (int i = 0; i < metrics->size(); ++i) {
    Metric* metric = metrics->Mutable(i);
    const std::string field = absl::StrCat("metrics[", i, "]");
    const auto* kind = Metric::descriptor()->FindFieldByNumber(metric->kind_case());
    ResolveName(c, metric->mutable_name(),
                absl::StrCat(kind == nullptr ? "metric" : kind->name(), "[", i, "]"), names,
                field + ".name");
    CheckKind(c, metric, field);
    if (!metric->has_loss()) CheckPosition(c, metric, field);
  }
}

int64_t NumberCount(const Metric& metric) {
  switch (metric.kind_case()) {
    case Metric::kLogits:
      return metric.logits().ids_size();
    case Metric::kLogProbs:
      return metric.log_probs().ids_size();
    case Metric::kProbabilities:
      return metric.probabilities().ids_size();
    case Metric::kRanks:
      return metric.ranks().ids_size();
    case Metric::kLogitDiff:
    case Metric::kKlFromClean:
    case Metric::kTop1Agreement:
    case Metric::kLoss:
    case Metric::kPatchingScore:
      return 1;
    case Metric::kTopK:
    case Metric::KIND_NOT_SET:
      return 0;
  }
  return 0;
}

std::vector<int64_t> MetricPositions(const MetricList& metrics, int64_t length) {
  std::vector<int64_t> positions;
  for (const Metric& metric : metrics)
    positions.push_back(metric.has_loss() ? -1 : FromStart(metric.position(), length));
  return positions;
}

std::vector<int64_t> PositionsRead(const MetricList& metrics, int64_t length) {
  std::set<int64_t> positions;
  for (const int64_t position : MetricPositions(metrics, length)) {
    if (position >= 0) positions.insert(position);
  }
  const bool loss = std::any_of(metrics.begin(), metrics.end(),
                                [](const Metric& metric) { return metric.has_loss(); });
  for (int64_t i = 0; loss && i + 1 < length; ++i) positions.insert(i);
  return {positions.begin(), positions.end()};
}

}  // namespace scalpel::spec
