// How a caller of Gpt2::Forward observes and edits activations while the model runs.

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
  at::Tensor value;   // undefined if the row is not computed here and is not needed either
  int64_t first = 0;  // the row's position (query, at scores and pattern) that `value` begins with
};
using RowOf = absl::FunctionRef<RowValue(Site site, int32_t row)>;

// All functions are called on the thread that runs Forward. Rows are identified by their index in
// Forward's `rows`.
class Tap {
 public:
  virtual ~Tap() = default;
  // Returns whether Visit is to be called at this site. Forward computes nothing that is only
  // needed to show a site that is not wanted.
  virtual bool Wants(Site site, int32_t layer) const = 0;
  // Returns whether the value of this row is needed at the site.
  virtual bool Wants(Site site, int32_t layer, int32_t row) const = 0;
  // Returns whether Visit may write to this row at the site.
  virtual bool Edits(Site site, int32_t layer, int32_t row) const = 0;
  // Observes and edits the values at `sites`, which share one storage: one site, or QKV with its
  // views Q, K and V. The rest of the forward pass sees what is written to a row for which Edits is
  // true, except at the observe-only sites (the three LayerNorm scales and HEAD_RESULT). All other
  // rows are read-only: they may belong to a cached clean run.
  virtual void Visit(absl::Span<const Site> sites, int32_t layer, RowOf row_of) = 0;
  // Returns whether an edit has changed any bit of the row so far.
  virtual bool Changed(int32_t row) const = 0;
  // Called after the embeddings (kNoLayer) and after each block. Returns false to stop the forward
  // pass there.
  virtual bool LayerDone(int32_t layer) = 0;
  // Called now and then within a layer that takes long. Returns false if no row is needed any more:
  // then what is visited until the next LayerDone is undefined, and LayerDone stops the pass.
  virtual bool GoesOn() { return true; }
  // Called after LayerDone. Returns whether the row is still needed.
  virtual bool Needs(int32_t row) const = 0;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_TAP_H_
