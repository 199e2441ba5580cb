// What looks at activations, and changes them, while the model runs.

#ifndef SCALPEL_SERVER_MODEL_TAP_H_
#define SCALPEL_SERVER_MODEL_TAP_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/model/site.h"
#include "server/model/tensor.h"

namespace scalpel::model {

// A row's activations at a site: a view, in the shape that site.h says.
struct RowValue {
  at::Tensor value;   // undefined: the row is not there, and nobody needs it
  int64_t first = 0;  // the position (query, at scores and pattern) that its first one is of
};
using RowOf = absl::FunctionRef<RowValue(Site site, int32_t row)>;

// Called on the thread that runs Forward. A row is named by its index in Forward's `rows`.
class Tap {
 public:
  virtual ~Tap() = default;
  // Whether Visit is to be called at this site. Nothing is computed for a site that nobody wants.
  virtual bool Wants(Site site, int32_t layer) const = 0;
  // The same of one row.
  virtual bool Wants(Site site, int32_t layer, int32_t row) const = 0;
  // Whether Visit may write to this row there.
  virtual bool Edits(Site site, int32_t layer, int32_t row) const = 0;
  // `sites` share one storage: one site, or QKV with its views Q, K and V. A write to a row that
  // Edits names is seen by the rest of the forward pass, except at the observe-only sites (the
  // three LayerNorm scales and HEAD_RESULT). Other rows may be the clean run's, which nobody may
  // write to.
  virtual void Visit(absl::Span<const Site> sites, int32_t layer, RowOf row_of) = 0;
  // Whether an edit has changed a bit of the row so far.
  virtual bool Changed(int32_t row) const = 0;
  // Called when the embeddings (kNoLayer) or a block are done. False: stop the forward pass here.
  virtual bool LayerDone(int32_t layer) = 0;
  // Asked after LayerDone: false, the row is not needed any more.
  virtual bool Needs(int32_t row) const = 0;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TAP_H_
