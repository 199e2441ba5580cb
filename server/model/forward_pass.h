// One forward pass on its way through the model: which rows are being computed now, where they lie,
// who looks at them, and what is kept of their clean runs.

#ifndef SCALPEL_SERVER_MODEL_FORWARD_PASS_H_
#define SCALPEL_SERVER_MODEL_FORWARD_PASS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/model/layers.h"
#include "server/model/packing.h"
#include "server/model/row.h"
#include "server/model/tap.h"
#include "server/model/tensor.h"

namespace scalpel::model {

// Gpt2 writes the model down as if every row were computed in every layer and looked at nowhere;
// this class is why that is not so.
//
// Rows come and go. A row that is the clean run of its prompt so far, and whose clean run is known,
// need not be computed: it enters at the door before the first place where it differs or is looked
// at (Row::stops), and leaves when it does not differ after all. The packed tensors that are alive
// at a door are given to it, and are laid anew.
//
// Sites are visited. Each site of the model is one call of Visit, which does nothing unless the tap
// looks there. Rows that are not being computed are shown as their clean run.
class ForwardPass {
 public:
  // The rows, and what they refer to, and the tap outlive this object.
  ForwardPass(absl::Span<const Row> rows, Tap& tap);

  int32_t size() const { return static_cast<int32_t>(rows_.size()); }
  const Row& row(int32_t index) const { return rows_[index]; }
  // The rows that are being computed.
  const Packing& packing() const { return packing_; }
  // The block that is being computed. kNoLayer: before the first, or behind the last.
  int32_t layer() const { return layer_; }

  // For computations that take long.
  GoesOn goes_on() const { return asks_tap_; }

  // ---- the doors, in their order; x is the residual stream, [packing().tokens(), d_model] ----

  // Before the embeddings, which make the first x.
  void EnterEmbeddings();
  // At the input of a block.
  void EnterBlock(int32_t layer, at::Tensor& x);
  // Behind RESID_PRE, where rows leave that were computed for that site alone.
  void LeaveBlockInput(at::Tensor& x);
  // In the last block, behind its keys and values: only positions stay that something reads.
  void Narrow(at::Tensor& x);
  // At the output projection of the attention, whose input is z.
  void EnterOutput(at::Tensor& x, at::Tensor& z);
  // At the output of the block.
  void EnterBlockEnd(at::Tensor& x);
  // The embeddings or a block are done. False: the tap stops the pass.
  bool LayerDone(at::Tensor& x);
  // Behind the last block.
  void LeaveBlocks() { layer_ = kNoLayer; }

  // ---- the sites of the layer ----

  // Whether the tap looks at the site, or at the site in one row; what only it needs is made then.
  bool Wants(Site site) const { return tap_.Wants(site, layer_); }
  bool Wants(Site site, int32_t row) const { return tap_.Wants(site, layer_, row); }
  // Whether it may write to the site: to a row, or to any that is being computed.
  bool Edits(Site site, int32_t row) const { return tap_.Edits(site, layer_, row); }
  bool Edits(Site site) const;
  // Shows a packed tensor [packing().tokens(), ...]. It may be written to.
  void Visit(Site site, const at::Tensor& packed);
  // Shows a value that is not packed, by row.
  void VisitRows(Site site, absl::FunctionRef<at::Tensor(int32_t row)> of);
  // Shows QKV and its views Q, K and V at once, since they share one storage. [tokens, 3d]
  void VisitQkv(const at::Tensor& qkv, int64_t n_head);

  // ---- what comes back ----

  // Notes the rows whose part of a packed tensor holds an infinity or NaN.
  void NoteFinite(const at::Tensor& packed);
  // Keeps the keys and values of the block, packed, [tokens, H, dh] each, of rows that are
  // recorded, or whose keys are kept.
  void RecordKeys(const at::Tensor& keys, const at::Tensor& values);
  // By row. The logits are the caller's to fill in, and to note.
  RowAnswer& answer(int32_t row) { return answers_[row]; }
  void NoteFiniteLogits();
  std::vector<RowAnswer> TakeAnswers();

 private:
  using CleanPart = absl::FunctionRef<at::Tensor(const CleanState&)>;
  using States = std::vector<at::Tensor> CleanState::*;

  // Lets rows in and out. Each says whether any came or went; then the packed tensors are to be
  // laid anew.
  bool Enter(const EntryPoint& entrance);
  // Behind the door `now`, with every stop before `until` done: those leave that nothing needs any
  // more, and those that are still their clean run, where that is known as far as it is needed.
  bool Leave(const EntryPoint& now, const Stop& until);
  // Drops the positions that nothing behind the last block's keys and values reads.
  bool DropUnread();
  // `packed`, which lay as `before` says, as packing() says. Rows that entered begin with
  // `clean(state)`, [T, ...].
  at::Tensor Repacked(const Packing& before, const at::Tensor& packed, CleanPart clean) const;
  at::Tensor Repacked(const Packing& before, const at::Tensor& packed) const;

  RowValue ValueOf(Site site, int32_t row, const at::Tensor& packed) const;

  // Each keeps what is to be kept of the rows that are being computed; nothing twice.
  void RecordResid(int32_t layer, const at::Tensor& x);
  void RecordZ(const at::Tensor& z);
  // Appends to a list of the recorded state what the row has in `packed`, and the clean run before
  // its first position.
  void Append(const Packing::Entry& entry, const at::Tensor& packed, States list);

  struct AsksTap {
    Tap& tap;
    bool operator()() const { return tap.GoesOn(); }
  };

  const absl::Span<const Row> rows_;
  Tap& tap_;
  const AsksTap asks_tap_{tap_};
  int32_t layer_ = kNoLayer;
  Packing packing_;
  std::vector<size_t> next_stop_;  // by row: the first that is not done
  std::vector<RowAnswer> answers_;
  std::vector<std::shared_ptr<CleanState>> recorded_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_FORWARD_PASS_H_
