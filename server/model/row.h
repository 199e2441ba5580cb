// A row of the forward pass: one prompt, computed from the place where it may first differ from its
// clean run.

#ifndef SCALPEL_SERVER_MODEL_ROW_H_
#define SCALPEL_SERVER_MODEL_ROW_H_

#include <compare>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "server/model/clean_state.h"
#include "server/model/key_cache.h"
#include "server/model/site.h"

namespace scalpel::model {

// A site of a layer, in the order in which the forward pass reaches them. Sites behind the last
// block have layer n_layer here, and those of the embeddings kNoLayer.
struct Stop {
  int32_t layer;
  Site site;
  auto operator<=>(const Stop&) const = default;
};

// Where a row can enter the forward pass. Within a layer, in this order: at the block's input, at
// the output projection of its attention, and at its output.
enum class Door : int32_t { kBlock, kOutput, kEnd };

struct EntryPoint {
  int32_t layer;
  Door door;
  auto operator<=>(const EntryPoint&) const = default;
};

// Returns the last door from which the stop's site is still computed. For sites behind the last
// block that is the last block's kEnd.
EntryPoint EntryPointOf(const Stop& stop);

struct Row {
  absl::Span<const int32_t> tokens;  // T of them; must outlive the forward pass
  // What is known of the clean run of these tokens; null if nothing is. It may also be the clean
  // run, in all layers, of only the first tokens: then `first` is at most their number, and the row
  // enters at the embeddings.
  std::shared_ptr<const CleanState> clean;
  // The places for which the row must be computed, ascending. It enters the forward pass in time
  // for the first. While no edit has changed any bit of it, it leaves the pass again until the next
  // one, and observers see the clean run meanwhile. Empty if the clean run is all that is needed.
  std::vector<Stop> stops;
  // The last place where the row is observed or edited.
  Stop last = {kNoLayer, Site::kEmbed};
  // Positions [first, T) are computed; those before come from the clean run.
  int64_t first = 0;
  // Behind the keys and values of the last block only positions [read_first, T) are computed,
  // because nothing reads those before.
  int64_t read_first = 0;
  // The positions whose logits are returned, in this order.
  std::vector<int64_t> logit_positions;
  // How many layers of the clean run are returned. The row has no edit in these layers, and enters
  // at the embeddings or where `clean` ends.
  int32_t record_layers = 0;
  // Takes the keys and values of every position that is computed, as edits have left them; null:
  // they are not kept.
  std::shared_ptr<KeyCache> keys = nullptr;
};

// What the forward pass returns for a row.
struct RowAnswer {
  at::Tensor logits;                           // [logit_positions, vocab]; undefined without any
  std::shared_ptr<const CleanState> recorded;  // with Row::record_layers; else null
  int64_t tokens_computed = 0;                 // positions of it that were computed in any layer
  // Positions of it that were computed, over the attentions and over the MLPs of all layers.
  int64_t attention_positions = 0, mlp_positions = 0;
  // False if an infinity or NaN was computed in its residual stream (after the embeddings or after
  // a block), in the output of the final LayerNorm, or in its logits.
  bool finite = true;
};

// Returns a view of the clean run's value at a site, in the shape of site.h, for a row of `length`
// tokens; undefined if the state does not hold it.
at::Tensor CleanValue(const CleanState& clean, Site site, int32_t layer, int64_t length);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_ROW_H_
