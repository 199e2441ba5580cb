// Causal attention over packed rows on a CPU, by the kernels of server/kernels.

#ifndef SCALPEL_SERVER_MODEL_ATTENTION_H_
#define SCALPEL_SERVER_MODEL_ATTENTION_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "server/kernels/attention.h"
#include "server/model/config.h"
#include "server/model/packing.h"

namespace scalpel::model {

// Attention scores or weights of one row, [H, queries, T]; undefined where nobody looks at the row.
using PatternOf = absl::FunctionRef<at::Tensor(int32_t row)>;

// Who looks at a layer's attention on its way.
struct AttentionVisits {
  // Is given a function from rows to their scores, or weights, which it may write to.
  absl::FunctionRef<void(PatternOf)> scores, pattern;
  // Whether it looks at this row's scores or weights; and may write to its scores.
  absl::FunctionRef<bool(int32_t row)> wants, edits_scores;
};

// The scale of a layer's scores, as the checkpoint's flags say: (query_factor * q) . k / divisor /
// layer_divisor.
struct ScoreScale {
  double query_factor = 1, divisor = 1, layer_divisor = 1;
};
ScoreScale ScoreScaleOf(const Gpt2Config& config, int32_t layer);

// The attention of one layer, over rows whose keys lie as `keys` says and whose queries lie as
// `queries` says: the same rows, with the same positions or later ones. The bits of a query depend
// on its own keys alone: neither on the rows around it, nor on which queries are computed, nor on
// who looks.
class Attention {
 public:
  // `qkv`: [keys.tokens(), 3d]. `clean_keys(row, which)`: [T, H, dh], the keys (0) and values (1)
  // of the clean run, asked for where a row's first positions are not in `keys`. All arguments
  // outlive this object.
  Attention(const Gpt2Config& config, int32_t layer, const Packing& keys, const Packing& queries,
            const at::Tensor& qkv,
            absl::FunctionRef<at::Tensor(int32_t row, int which)> clean_keys);

  // All heads' outputs, [queries.tokens(), d].
  at::Tensor Run();
  // The same for whoever looks at scores or weights on the way. The others' rows take the short
  // way.
  at::Tensor RunVisited(const AttentionVisits& visits);

 private:
  const Packing& queries_;
  kernels::AttentionShape shape_;
  std::vector<at::Tensor> clean_;            // keeps the clean runs' tensors
  std::vector<kernels::AttentionRow> rows_;  // as in queries_.entries()
  at::Tensor z_;                             // [queries, d]
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_ATTENTION_H_
