// What the parts of Compile share. Internal to the room `spec`. Each part validates one portion of
// the request, writes its normal form back into Compilation::request, and adds what it means to the
// Plan, which does not keep the request.

#ifndef SCALPEL_SERVER_SPEC_COMPILE_H_
#define SCALPEL_SERVER_SPEC_COMPILE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/base/violations.h"
#include "server/spec/plan.h"

namespace scalpel::spec {

// Tokens by prompt; none: the prompt was refused, and the later parts skip it.
using PromptTokens = std::vector<std::vector<int32_t>>;

struct Compilation {
  const ModelFacts& facts;
  const Limits& limits;
  Wanted wanted;
  Violations& violations;
  const PromptTokens& prompts;
  v1::RunRequest& request;
  Plan& plan;
  int32_t sources = 0;                  // prompts, the last ones, that only run clean
  std::string prefix = {};              // of the fields of interventions
  std::vector<int32_t> clean_row = {};  // by prompt; -1: none needed so far
  int64_t places = 0;                   // unfolded so far
  // Of a step of a generation: the one prompt that runs, and by intervention whether it acts.
  std::optional<int32_t> only_prompt = {};
  std::vector<bool> acting = {};

  // Prompts that run with interventions.
  int32_t edited_prompts() const { return static_cast<int32_t>(prompts.size()) - sources; }
  bool Runs(int32_t prompt) const { return !only_prompt || *only_prompt == prompt; }
  // The row of a prompt that runs.
  int32_t RowOf(int32_t prompt) const { return only_prompt ? 0 : prompt; }
  bool Acts(int32_t intervention) const { return acting.empty() || acting[intervention]; }
};

// ---- parts, in the order they run ---------------------------------------------------------------

// Prompts to tokens, appended to `tokens`; `prompts` become ids.
void CompilePrompts(const ModelFacts& facts, absl::string_view field, Violations& violations,
                    google::protobuf::RepeatedPtrField<v1::Prompt>* prompts, PromptTokens* tokens);
// Begins Plan::rows and tokens; clean rows that something turns out to need are added later.
void CompileRows(Compilation& c);
void CompileInterventions(Compilation& c);
// As CompileInterventions, but for what depends on a prompt's tokens; leaves the plan alone.
void NormalizeInterventions(Compilation& c);
// Probes and captures.
void CompileObservations(Compilation& c);
// Logits, block output tuples, hidden states. The rows are complete.
void CompileOutputs(Compilation& c);
// Refuses more tokens than a pass may have. The rows are complete.
void CheckTokens(Compilation& c);

// ---- shared by the parts ------------------------------------------------------------------------

struct ResolvedPlace {
  const SiteEntry* site;
  bool observe_only;             // by the name that the place gives
  std::vector<int32_t> layers;   // or {model::kNoLayer}
  std::vector<int32_t> prompts;  // that run, without those that were refused
  // Regions that were made of it. They are immutable: prompts of one length share theirs, unless
  // positions are selected by token, and all share the lists of heads and units.
  std::map<size_t, std::shared_ptr<const Region>> by_length = {};
  std::shared_ptr<const Region> last = {};
};

// The row of a prompt's clean run, added where there is none yet.
int32_t CleanRow(Compilation& c, int32_t prompt);

// Resolves and normalises a place. The part within a row is left to ResolveRegion.
std::optional<ResolvedPlace> ResolvePlace(Compilation& c, v1::Place* place,
                                          absl::string_view field);

// The region of a resolved place in one prompt; nullptr after a violation.
std::shared_ptr<const Region> RegionOf(Compilation& c, ResolvedPlace& place, const v1::Place& spec,
                                       int32_t prompt, absl::string_view field);

// Counts what a request unfolds into; false (once with a violation): too much.
bool CountPlaces(Compilation& c, int64_t count, absl::string_view field);

// The name given, or `fallback`. Adds a violation if it is too long or `taken`.
void ResolveName(Compilation& c, std::string* name, absl::string_view fallback,
                 std::unordered_set<std::string>& taken, absl::string_view field);

// Refuses NaN, infinities and numbers that float32 cannot hold normally, unless the request admits
// them.
void CheckNumber(Compilation& c, double number, absl::string_view field);

// Fills in float32 where no type is given, and refuses numbers that are none.
template <typename Message>
void NormalizeDataType(Compilation& c, Message* message, absl::string_view field) {
  if (message->dtype() == v1::DATA_TYPE_UNSPECIFIED) message->set_dtype(v1::DATA_TYPE_FLOAT32);
  if (!v1::DataType_IsValid(message->dtype())) {
    c.violations.Add(absl::StrCat(field, ".dtype"),
                     absl::StrCat(static_cast<int>(message->dtype()), " is not a data type"));
  }
}

// NOT_FOUND for another model's name.
absl::Status CheckModel(const std::string& name, const ModelFacts& facts);

// Refuses a list with more than `most` entries.
void CheckCount(Violations& violations, absl::string_view field, int64_t count, int64_t most);

// SHA-256 of a request in deterministic serialisation and the weights' hash, lower-case
// hexadecimal. `validate_only` is left out: a validation foretells the digest of the call itself.
std::string Digest(const google::protobuf::Message& request, const ModelFacts& facts);

void FillTokenized(const ModelFacts& facts, const PromptTokens& prompts,
                   google::protobuf::RepeatedPtrField<v1::TokenizedPrompt>* tokenized);

// A tensor of the request, float32 on the CPU; undefined after a violation.
at::Tensor DecodeTensor(Compilation& c, const v1::Tensor& tensor, absl::string_view field);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_COMPILE_H_
