// Causal attention over packed rows on a CPU, computed by server/kernels.

#ifndef SCALPEL_SERVER_MODEL_ATTENTION_H_
#define SCALPEL_SERVER_MODEL_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "server/kernels/attention.h"
#include "server/model/config.h"
#include "server/model/packing.h"
#include "server/model/tensor.h"

namespace scalpel::model {

// Returns the attention scores or weights of a row, [H, queries, T] float32. The tensor may be
// undefined if AttentionVisits::wants is false for the row.
using PatternOf = absl::FunctionRef<at::Tensor(int32_t row)>;

// Callbacks by which a tap reads and edits a layer's attention while it is computed.
struct AttentionVisits {
  // Called once each, after the scores of all wanted rows are computed and after their weights are.
  // They may write to the tensors that they are given access to.
  absl::FunctionRef<void(PatternOf)> scores, pattern;
  // wants: whether the row's scores or weights are read or written at all. edits_scores: whether
  // its scores may be written to.
  absl::FunctionRef<bool(int32_t row)> wants, edits_scores;
};

// The scale of a layer's scores, (query_factor * q) . k / divisor / layer_divisor, by the
// scale_attn_* and reorder_* fields of the config.
struct ScoreScale {
  double query_factor = 1, divisor = 1, layer_divisor = 1;
};
ScoreScale ScoreScaleOf(const Gpt2Config& config, int32_t layer);

// The attention of one layer. The rows of `keys` and `queries` are equal; `queries` may begin at
// later positions of a row, so that fewer queries than keys are computed. The bits of a query's
// output depend only on the query and its keys: not on the other rows, on which queries are
// computed, or on whether they are visited.
class Attention {
 public:
  // `qkv`: [keys.tokens(), 3d] float32. `clean_keys(row, which)` returns the keys (which = 0) or
  // values (1) of the row's clean run, [T, H, dh]; it is called during construction for rows whose
  // first positions are not in `keys`. `queries` and `qkv` must outlive this object.
  Attention(const Gpt2Config& config, int32_t layer, const Packing& keys, const Packing& queries,
            const at::Tensor& qkv,
            absl::FunctionRef<at::Tensor(int32_t row, int which)> clean_keys);

  // Returns the outputs of all heads side by side, [queries.tokens(), d].
  at::Tensor Run();
  // As Run, but materializes scores and weights of the rows that `visits` wants, and calls it with
  // them.
  at::Tensor RunVisited(const AttentionVisits& visits);

 private:
  const Packing& queries_;
  kernels::AttentionShape shape_;
  std::vector<at::Tensor> clean_;            // keeps alive what rows_ points to
  std::vector<kernels::AttentionRow> rows_;  // as in queries_.entries()
  at::Tensor z_;                             // [queries, d]
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_ATTENTION_H_
