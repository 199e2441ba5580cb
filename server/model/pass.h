// The rows of one forward pass: which are being computed now, where they lie, and what is kept of
// their clean runs.

#ifndef SCALPEL_SERVER_MODEL_PASS_H_
#define SCALPEL_SERVER_MODEL_PASS_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/model/packing.h"
#include "server/model/row.h"
#include "server/model/tap.h"

namespace scalpel::model {

class Pass {
 public:
  explicit Pass(absl::Span<const Row> rows);

  const Row& row(int32_t index) const { return rows_[index]; }
  int32_t size() const { return static_cast<int32_t>(rows_.size()); }
  const Packing& packing() const { return packing_; }
  // Positions of a row that were computed in any layer.
  int64_t tokens_computed(int32_t row) const { return tokens_computed_[row]; }
  // Positions of a row that were computed, over the attentions and over the MLPs of all layers.
  int64_t attention_positions(int32_t row) const { return attention_positions_[row]; }
  int64_t mlp_positions(int32_t row) const { return mlp_positions_[row]; }
  // What is being computed now goes through an attention, or through an MLP.
  void CountAttention() { Count(attention_positions_); }
  void CountMlp() { Count(mlp_positions_); }

  // Rows enter and leave. Each says whether any did; then the packed tensors are to be laid anew by
  // Relay, from the packing as it was.
  bool Enter(const Entrance& entrance);
  // Behind the door `now`, with every stop before `until` done: those leave that nobody needs any
  // more, and those that are still their clean run, where that is known as far as it is needed.
  bool Leave(const Entrance& now, const Stop& until, const Tap& tap);
  // From now on only the positions that something still reads.
  bool Narrow();
  // `packed`, which lay as `before` says, as packing() says. Rows that entered begin with
  // `clean(state)`, [T, ...].
  at::Tensor Relay(const Packing& before, const at::Tensor& packed,
                   absl::FunctionRef<at::Tensor(const CleanState&)> clean) const;
  // The same where none entered.
  at::Tensor Relay(const Packing& before, const at::Tensor& packed) const;

  // A row's value where a site's activations lie packed in `value`, or that of its clean run.
  RowValue ValueOf(int32_t row, const at::Tensor& value, Site site, int32_t layer) const;
  // The clean run's.
  RowValue CleanOf(int32_t row, Site site, int32_t layer) const;

  // ---- recording clean runs
  // ----------------------------------------------------------------------

  // Each keeps what is to be kept of the rows that are being computed; nothing twice.
  // The input of block `layer`, packed.
  void RecordResid(int32_t layer, const at::Tensor& resid);
  // Keys and values of block `layer`, packed, [tokens, H, dh] each.
  void RecordKeys(int32_t layer, const at::Tensor& keys, const at::Tensor& values);
  // The heads' outputs of block `layer`, packed.
  void RecordZ(int32_t layer, const at::Tensor& z);
  std::shared_ptr<const CleanState> Recorded(int32_t row) const { return recorded_[row]; }

 private:
  using States = std::vector<at::Tensor> CleanState::*;
  // Appends to a list of the recorded state what the row has in `packed`, and the clean run before
  // its first position.
  void Append(const Packing::Entry& entry, const at::Tensor& packed, States list);
  // Adds the positions that are being computed, by row.
  void Count(std::vector<int64_t>& positions) const;

  const absl::Span<const Row> rows_;
  Packing packing_;
  std::vector<size_t> next_stop_;  // by row: the first that is not done
  std::vector<int64_t> tokens_computed_, attention_positions_, mlp_positions_;
  std::vector<std::shared_ptr<CleanState>> recorded_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_PASS_H_
