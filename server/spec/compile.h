// What the parts of Compile share. Internal to the room `spec`; each part validates one portion of
// the request, writes its normal form back into Plan::request, and adds what it means to the Plan.

#ifndef SCALPEL_SERVER_SPEC_COMPILE_H_
#define SCALPEL_SERVER_SPEC_COMPILE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/spec/plan.h"
#include "server/spec/violations.h"

namespace scalpel::spec {

struct Compilation {
  const ModelFacts& facts;
  const Limits& limits;
  Violations& violations;
  Plan& plan;
  std::vector<int32_t> clean_row = {};  // by prompt; -1: none needed
  int64_t places = 0;                   // unfolded so far
};

// ---- parts, in the order they run ---------------------------------------------------------------

// Prompts to tokens. A prompt that is refused keeps no tokens, and the later parts skip it.
void CompilePrompts(Compilation& c);
// Which prompts need a clean run beside them; fills Plan::rows, tokens and groups.
void CompileRows(Compilation& c);
void CompileInterventions(Compilation& c);
// Probes and captures.
void CompileObservations(Compilation& c);
// Logits, block output tuples, hidden states.
void CompileOutputs(Compilation& c);

// ---- shared by the parts ------------------------------------------------------------------------

struct ResolvedPlace {
  const SiteEntry* site;
  std::vector<int32_t> layers;   // or {model::kNoLayer}
  std::vector<int32_t> prompts;  // without those that were refused
};

// Resolves and normalises a place. The part within a row is left to ResolveRegion.
std::optional<ResolvedPlace> ResolvePlace(Compilation& c, v1::Place* place,
                                          absl::string_view field);

// The region of a resolved place in one prompt.
std::shared_ptr<const Region> RegionOf(Compilation& c, const ResolvedPlace& place,
                                       const v1::Place& spec, int32_t prompt,
                                       absl::string_view field);

// Counts what a request unfolds into; false (once with a violation): too much.
bool CountPlaces(Compilation& c, int64_t count, absl::string_view field);

// The name given, or `fallback[index]`. Adds a violation if it is too long or `taken` (then used).
void ResolveName(Compilation& c, std::string* name, absl::string_view fallback, int index,
                 std::vector<std::string>& taken, absl::string_view field);

// Refuses NaN, infinities and numbers that float32 cannot hold normally, unless the request admits
// them.
void CheckNumber(Compilation& c, double number, absl::string_view field);

// Fills in float32 where no type is given, and refuses numbers that are none.
template <typename Message>
void NormalizeDataType(Compilation& c, Message* message, absl::string_view field) {
  if (message->dtype() == v1::DATA_TYPE_UNSPECIFIED) message->set_dtype(v1::DATA_TYPE_FLOAT32);
  if (!v1::DataType_IsValid(message->dtype())) {
    c.violations.Add(absl::StrCat(field, ".dtype"),
                     absl::StrCat(static_cast<int>(message->dtype()), " is no data type"));
  }
}

// A tensor of the request, float32 on the CPU; undefined after a violation.
at::Tensor DecodeTensor(Compilation& c, const v1::Tensor& tensor, absl::string_view field);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_COMPILE_H_
