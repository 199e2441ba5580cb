// What the parts of CompileInterventions share. Internal to the room `spec`.

#ifndef SCALPEL_SERVER_SPEC_INTERVENTIONS_H_
#define SCALPEL_SERVER_SPEC_INTERVENTIONS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/model/tensor.h"
#include "server/spec/compile.h"

namespace scalpel::spec {

// One intervention while it is compiled.
struct InterventionItem {
  int32_t index;
  v1::Intervention* spec;
  std::string field;                 // `interventions[2]`, behind the prefix
  std::string operation = {};        // `scale`
  std::string operation_field = {};  // `interventions[2].scale`
  at::Tensor operand = {};
  // Of a knockout: its pairs, and the region that holds them, by the prompts' length. Prompts of
  // one length share them.
  struct Pairs {
    std::shared_ptr<const Region> target;
    std::shared_ptr<const std::vector<AttentionPair>> pairs;
  };
  std::map<int64_t, Pairs> pairs_by_length = {};
};

// ---- operation_fields.cc ------------------------------------------------------------------------

// Checks the fields of the operation itself, fills in its defaults, and decodes its operand.
void CheckOperation(Compilation& c, InterventionItem& item);

// Axes of length 1 in front of those that the site has say nothing.
void DropLeadingAxes(int64_t rank, at::Tensor& operand);

// Whether the operand fits the selected part; false after a violation.
bool CheckOperandShape(Compilation& c, const InterventionItem& item, const Region& target);

// ---- knockout.cc --------------------------------------------------------------------------------

// Adds the pairs of a knockout to `step`, and lets its target, which holds every pair, hold just
// them. `length`: of the prompt, in tokens. False after a violation.
bool AddPairs(Compilation& c, InterventionItem& item, int64_t length, Step& step);

// ---- patch.cc -----------------------------------------------------------------------------------

// Adds the patch's source to `step`; false after a violation.
bool AddPatchSource(Compilation& c, const InterventionItem& item, const SiteEntry& site,
                    int32_t layer, Step& step);

}  // namespace scalpel::spec

#endif  // SCALPEL_SERVER_SPEC_INTERVENTIONS_H_
