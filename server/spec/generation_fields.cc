#include "server/spec/generation_fields.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/spec/sampler.h"
#include "server/spec/selection.h"
#include "server/spec/sites.h"
#include "server/spec/steps.h"

namespace scalpel::spec {
namespace {

void CheckStop(v1::Stop& stop, const ModelFacts& facts, const Limits& limits,
               Violations& violations) {
  if (!stop.has_max_new_tokens()) violations.Add("stop.max_new_tokens", "is required");
  if (stop.has_max_new_tokens() && stop.max_new_tokens() < 1) {
    violations.Add("stop.max_new_tokens", absl::StrCat(stop.max_new_tokens(), " is below 1"));
  }
  if (stop.min_new_tokens() < 0 || stop.min_new_tokens() > std::max(stop.max_new_tokens(), 0)) {
    violations.Add("stop.min_new_tokens", absl::StrCat(stop.min_new_tokens(), " is outside [0, ",
                                                       stop.max_new_tokens(), "]"));
  }
  CheckCount(violations, "stop.ids", stop.ids_size(), limits->max_stops());
  CheckCount(violations, "stop.strings", stop.strings_size(), limits->max_stops());
  for (int i = 0; i < std::min<int>(stop.ids_size(), limits->max_stops()); ++i) {
    if (stop.ids(i) >= 0 && stop.ids(i) < facts.config.vocab_size) continue;
    violations.Add(absl::StrCat("stop.ids[", i, "]"),
                   absl::StrCat(stop.ids(i), " is outside [0, ", facts.config.vocab_size, ")"));
  }
  for (int i = 0; i < std::min<int>(stop.strings_size(), limits->max_stops()); ++i) {
    const std::string field = absl::StrCat("stop.strings[", i, "]");
    const auto bytes = static_cast<int64_t>(stop.strings(i).size());
    if (bytes < 1 || bytes > limits->max_name_bytes()) {
      violations.Add(field,
                     absl::StrCat("has ", bytes, " bytes; give 1 to ", limits->max_name_bytes()));
    } else if (!facts.tokenizer) {
      violations.AddUnmet(field, absl::StrCat(facts.tokenizer_problem, "; give `ids`"));
    }
  }
}

void CheckLogits(const v1::LogitsRequest& logits, Violations& violations) {
  if (logits.has_positions()) {
    violations.Add("logits.positions",
                   "a step's logits are those of its last position; leave the field out");
  }
}

// The steps that a place may select: of one generation, in which places are looked at by prompt.
class Steps {
 public:
  Steps(int64_t prompt_length, int32_t count, bool windowed)
      : prompt_length_(prompt_length), count_(count), windowed_(windowed) {}

  int64_t length_max() const { return prompt_length_ + count_ - 1; }
  int32_t count() const { return count_; }

  // Whether any position that is selected is computed in any step that is selected. Of positions
  // given by token it cannot be known.
  bool EverSelected(const v1::Selection& where) const {
    const int32_t last = LastSelected(where);
    if (last < 0) return false;
    if (!where.has_positions() || where.positions().has_tokens()) return true;
    const v1::Positions& positions = where.positions();
    if (positions.has_indices()) {
      const auto& indices = positions.indices().values();
      return std::any_of(indices.begin(), indices.end(),
                         [&](int64_t index) { return Selected(where, index, last); });
    }
    const v1::Range& range = positions.range();
    if (range.start() < 0 || range.end() < 0) return true;
    const int64_t distance = std::min(range.has_step() ? range.step() : 1, length_max() + 1);
    const int64_t end = range.has_end() ? std::min(range.end(), length_max()) : length_max();
    for (int64_t at = range.start(); at < end; at += distance) {
      if (Selected(where, at, last)) return true;
    }
    return false;
  }

 private:
  int32_t LastSelected(const v1::Selection& where) const {
    int32_t step = count_ - 1;
    while (step >= 0 && !SelectsStep(where, step)) --step;
    return step;
  }

  bool Selected(const v1::Selection& where, int64_t index, int32_t last) const {
    if (!windowed_) {
      const int64_t length = prompt_length_ + last;
      return index < 0 ? -index <= length : index < length;
    }
    if (index < 0) return index == -1 || (-index <= prompt_length_ && SelectsStep(where, 0));
    const int64_t step = std::max<int64_t>(0, index - prompt_length_ + 1);
    return step < count_ && SelectsStep(where, static_cast<int32_t>(step));
  }

  const int64_t prompt_length_;
  const int32_t count_;
  const bool windowed_;
};

// Whether the positions are the same ones at every step, all within a prompt of so many tokens.
bool IsFixed(const v1::Positions& positions, int64_t prompt_length) {
  if (positions.has_indices()) {
    const auto& indices = positions.indices().values();
    return std::all_of(indices.begin(), indices.end(),
                       [&](int64_t index) { return index >= 0 && index < prompt_length; });
  }
  const v1::Range& range = positions.range();
  return positions.has_range() && range.start() >= 0 && range.has_end() && range.end() >= 0 &&
         range.end() <= prompt_length;
}

bool OnlyPrompt(const v1::Range& steps) { return steps.has_end() && steps.end() <= 1; }

bool HasFixedPositions(const v1::Place& place, int64_t prompt_length) {
  const v1::Selection& where = place.where();
  if (OnlyPrompt(where.steps())) return true;
  if (!where.has_positions() || !IsFixed(where.positions(), prompt_length)) return false;
  return !IsAttention(FindSite(place.site())->facts) ||
         (where.has_key_positions() && IsFixed(where.key_positions(), prompt_length));
}

// Whether a tensor has more than one entry along the site's positions, or its keys.
bool VariesByPosition(const v1::Tensor& tensor, const SiteEntry& site) {
  const int rank = site.facts.axes_size(), shape = tensor.shape_size();
  for (int axis = PositionAxis(site.facts); axis < rank; ++axis) {
    const bool positions =
        axis == PositionAxis(site.facts) || site.facts.axes(axis) == v1::AXIS_KEY;
    const int from_end = rank - axis;
    if (positions && shape >= from_end && tensor.shape(shape - from_end) > 1) return true;
  }
  return false;
}

// Checks one place in every prompt that it selects.
class PlaceCheck {
 public:
  PlaceCheck(const v1::GenerateRequest& request, const PromptTokens& prompts,
             Violations& violations)
      : request_(request), prompts_(prompts), violations_(violations) {}

  bool Check(const v1::Place& place, const std::string& field) {
    const std::string steps_field = absl::StrCat(field, ".where.steps");
    const v1::Selection& where = place.where();
    const v1::Range& steps = where.steps();
    if (steps.start() < 0 || (steps.has_end() && steps.end() <= steps.start()) ||
        (steps.has_step() && steps.step() < 1)) {
      violations_.Add(steps_field,
                      absl::StrCat("[", steps.start(), ", ", steps.end(), ") by ", steps.step(),
                                   " is no range of steps; they count from 0"));
      return false;
    }
    for (const int32_t prompt : where.prompts()) {
      if (!CheckIn(prompt, where, field)) return false;
    }
    return true;
  }

  void CheckIntervention(const v1::Intervention& intervention, const std::string& field) {
    const v1::Place& place = intervention.place();
    const std::string place_field = absl::StrCat(field, ".place");
    if (!Check(place, place_field)) return;
    if (request_.reuse_kv() == v1::KV_REUSE_CLEAN_PROMPT && SelectsStep(place.where(), 0)) {
      violations_.Add(absl::StrCat(place_field, ".where.steps"),
                      "selects step 0, which KV_REUSE_CLEAN_PROMPT runs without interventions; "
                      "select {start: 1}");
    }
    if (intervention.patch().source_case() == v1::Patch::kPrompt) {
      violations_.Add(absl::StrCat(field, ".patch.prompt"),
                      "a stream runs alone, and sees no other prompt's run; read a `clean_prompt`");
    }
    CheckMean(intervention, field);
    if (!NeedsFixedPositions(intervention, request_.reuse_kv())) return;
    for (const int32_t prompt : place.where().prompts()) {
      if (HasFixedPositions(place, static_cast<int64_t>(prompts_[prompt].size()))) continue;
      violations_.Add(absl::StrCat(place_field, ".where"),
                      absl::StrCat("must select the same positions at every step: select `steps` "
                                   "{end: 1}, or list positions of the prompt from its start"));
      return;
    }
  }

 private:
  // What a mean is over may come up as the sequence grows, but must be within the longest.
  void CheckMean(const v1::Intervention& intervention, const std::string& field) {
    if (!intervention.mean().has_over() || intervention.mean().over().has_tokens()) return;
    for (const int32_t prompt : intervention.place().where().prompts()) {
      longest_.resize(prompts_[prompt].size() + request_.stop().max_new_tokens() - 1);
      const std::string over = absl::StrCat(field, ".mean.over");
      if (!ResolvePositions(&intervention.mean().over(), longest_, over, violations_)) return;
    }
  }

  bool CheckIn(int32_t prompt, const v1::Selection& where, const std::string& field) {
    const auto length = static_cast<int64_t>(prompts_[prompt].size());
    const Steps steps(length, request_.stop().max_new_tokens(),
                      request_.reuse_kv() != v1::KV_REUSE_RECOMPUTE_ALL);
    if (steps.length_max() < 1) return false;  // it has been refused
    // The longest sequence, of which only the length counts here.
    longest_.resize(steps.length_max());
    const int before = violations_.count();
    for (const bool keys : {false, true}) {
      const bool given = keys ? where.has_key_positions() : where.has_positions();
      const v1::Positions& said = keys ? where.key_positions() : where.positions();
      if (!given || said.has_tokens()) continue;
      ResolvePositions(&said, longest_,
                       absl::StrCat(field, keys ? ".where.key_positions" : ".where.positions"),
                       violations_);
    }
    if (violations_.count() > before) return false;
    if (steps.EverSelected(where)) return true;
    violations_.Add(absl::StrCat(field, ".where"),
                    absl::StrCat("selects nothing that prompt ", prompt, " of ", length,
                                 " tokens computes in any of its ", steps.count(), " steps"));
    return false;
  }

  const v1::GenerateRequest& request_;
  const PromptTokens& prompts_;
  Violations& violations_;
  std::vector<int32_t> longest_;
};

void CheckLengths(const v1::GenerateRequest& request, const PromptTokens& prompts,
                  const ModelFacts& facts, Violations& violations) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto length = static_cast<int64_t>(prompts[i].size());
    if (length + request.stop().max_new_tokens() - 1 <= facts.config.n_ctx) continue;
    violations.Add(
        "stop.max_new_tokens",
        absl::StrCat(request.stop().max_new_tokens(), " after the ", length, " tokens of prompts[",
                     i, "] do not fit into the model's context of ", facts.config.n_ctx,
                     "; give at most ", facts.config.n_ctx - length + 1));
    return;
  }
}

}  // namespace

bool NeedsFixedPositions(const v1::Intervention& intervention, v1::KvReuse reuse) {
  const SiteEntry& site = *FindSite(intervention.place().site());
  switch (intervention.operation_case()) {
    case v1::Intervention::kZero:
    case v1::Intervention::kScale:
    case v1::Intervention::kNoise:
    case v1::Intervention::kClamp:
    case v1::Intervention::kProjectOut:
    case v1::Intervention::kKnockout:
      return false;
    case v1::Intervention::kAdd:
      return VariesByPosition(intervention.add().tensor(), site);
    case v1::Intervention::kSet:
      return VariesByPosition(intervention.set().tensor(), site);
    case v1::Intervention::kMean:
      return reuse != v1::KV_REUSE_RECOMPUTE_ALL;
    default:
      return true;
  }
}

void CheckGenerationCounts(v1::GenerateRequest& request, const ModelFacts& facts,
                           const Limits& limits, Violations& violations) {
  if (request.prompts().empty()) violations.Add("prompts", "is empty; give at least one prompt");
  CheckCount(violations, "prompts", request.prompts_size(), limits->max_prompts());
  CheckCount(violations, "interventions", request.interventions_size(),
             limits->max_interventions());
  CheckCount(violations, "probes", request.probes_size(), limits->max_probes());
  CheckCount(violations, "captures", request.captures_size(), limits->max_captures());
  if (!request.has_continuations()) request.set_continuations(1);
  if (request.continuations() < 1)
    violations.Add("continuations", absl::StrCat(request.continuations(), " is below 1"));
  const int64_t streams = int64_t{request.prompts_size()} * std::max(request.continuations(), 1) *
                          (request.unsteered() ? 2 : 1);
  if (streams > limits->max_streams()) {
    violations.Add("continuations",
                   absl::StrCat("prompts, continuations and twins make ", streams,
                                " streams, at most ", limits->max_streams(), " are allowed"));
  }
  CheckSampling(*request.mutable_sampling(), facts.config.vocab_size, "sampling", violations);
  CheckStop(*request.mutable_stop(), facts, limits, violations);
  CheckLogits(request.logits(), violations);
  if (!v1::KvReuse_IsValid(request.reuse_kv())) {
    violations.Add("reuse_kv", absl::StrCat(static_cast<int>(request.reuse_kv()),
                                            " is not a way to reuse keys and values"));
  } else if (request.reuse_kv() == v1::KV_REUSE_UNSPECIFIED) {
    if (!request.interventions().empty()) {
      violations.Add("reuse_kv",
                     "is required where there are interventions: KV_REUSE_INTERVENED, "
                     "KV_REUSE_CLEAN_PROMPT or KV_REUSE_RECOMPUTE_ALL");
    }
    request.set_reuse_kv(v1::KV_REUSE_INTERVENED);  // without interventions all are the same
  }
}

void CheckGenerationPlaces(const v1::GenerateRequest& request, const PromptTokens& prompts,
                           const ModelFacts& facts, Violations& violations) {
  CheckLengths(request, prompts, facts, violations);
  if (!violations.empty()) return;
  PlaceCheck check(request, prompts, violations);
  for (int i = 0; i < request.interventions_size(); ++i)
    check.CheckIntervention(request.interventions(i), absl::StrCat("interventions[", i, "]"));
  for (int i = 0; i < request.probes_size(); ++i)
    check.Check(request.probes(i).place(), absl::StrCat("probes[", i, "].place"));
  for (int i = 0; i < request.captures_size(); ++i)
    check.Check(request.captures(i).place(), absl::StrCat("captures[", i, "].place"));
}

}  // namespace scalpel::spec
