// A row of the forward pass: one prompt, from the place on where it is no longer its clean run.

#ifndef SCALPEL_SERVER_MODEL_ROW_H_
#define SCALPEL_SERVER_MODEL_ROW_H_

#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "server/model/clean_state.h"
#include "server/model/site.h"

namespace scalpel::model {

// A site of a layer; ordered as the forward pass comes by. The sites behind the last block are in
// layer n_layer here, those of the embeddings in kNoLayer.
struct Stop {
  int32_t layer;
  Site site;
  auto operator<=>(const Stop&) const = default;
};

// Where a row can enter the forward pass, in this order within a layer: at the block's input; at
// the output projection of its attention; at its output.
enum class Door : int32_t { kBlock, kOutput, kEnd };

struct Entrance {
  int32_t layer;
  Door door;
  auto operator<=>(const Entrance&) const = default;
};

// The last door that still computes the stop's site. Behind the last block: its kEnd.
Entrance EntranceOf(const Stop& stop);

struct Row {
  absl::Span<const int32_t> tokens;  // T of them; outlive the run
  // The clean run of the same tokens, as far as it is known, or of the first of them in every
  // layer: then `first` is at most their number, and the row enters at the embeddings. Null: not
  // known.
  std::shared_ptr<const CleanState> clean;
  // What the row is computed for, ascending: it enters the forward pass in time for the first. As
  // long as no edit has changed a bit of it, it leaves again until the next; until then, and for
  // whoever looks, the clean run stands in. None: the clean run is enough.
  std::vector<Stop> stops;
  // The last place where anybody looks at it or edits it.
  Stop last = {kNoLayer, Site::kEmbed};
  // Positions [first, T) are computed; those before are the clean run's.
  int64_t first = 0;
  // The same behind the keys and values of the last block: nothing reads positions before.
  int64_t read_first = 0;
  // Positions whose logits come back, in that order.
  std::vector<int64_t> logit_positions;
  // How many layers of the clean run come back: the row has no edit in them, and enters at the
  // embeddings or where `clean` ends.
  int32_t record_layers = 0;
};

// What the model knows of a row in the end.
struct RowAnswer {
  at::Tensor logits;                           // [logit_positions, vocab]; undefined without any
  std::shared_ptr<const CleanState> recorded;  // with Row::record_layers; else null
  int64_t tokens_computed = 0;                 // positions of it that were computed in any layer
  // Positions of it that were computed, over the attentions and over the MLPs of all layers.
  int64_t attention_positions = 0, mlp_positions = 0;
  // Whether no infinity or NaN was seen in what was computed of its residual stream, behind the
  // embeddings and each block, nor behind the final LayerNorm, nor in its logits.
  bool finite = true;
};

// What the clean run had at a site of the contract's shapes, for a row of `length` tokens: a view.
// Undefined where the state does not hold it.
at::Tensor CleanValue(const CleanState& clean, Site site, int32_t layer, int64_t length);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_ROW_H_
