// GPT-2's forward pass over packed rows, with every site inline.
//
// The model is const and shared; everything of one run is an argument. Rows of different length lie
// packed, without padding, in one [tokens, d_model] tensor, and positions are absolute per row. A
// row enters where it stops being the clean run of its prompt, if that is known.

#ifndef SCALPEL_SERVER_MODEL_GPT2_H_
#define SCALPEL_SERVER_MODEL_GPT2_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "server/model/config.h"
#include "server/model/layers.h"
#include "server/model/row.h"
#include "server/model/tap.h"
#include "server/model/weights.h"

namespace scalpel::model {

class Pass;

// What Forward knows of a row in the end.
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

// Immutable after construction: const methods are thread-safe.
class Gpt2 {
 public:
  // Moves the weights to `device` and packs them for it.
  Gpt2(const Gpt2Config& config, Weights weights, at::Device device);

  const Gpt2Config& config() const { return config_; }
  at::Device device() const { return device_; }
  std::string kernels() const { return KernelsName(device_); }

  // Runs the model over all rows; nullopt when the tap stopped it. Throws c10::Error; keep an
  // InferenceMode guard around it.
  std::optional<std::vector<RowAnswer>> Forward(absl::Span<const Row> rows, Tap& tap) const;

 private:
  struct Block {
    LayerNormWeights ln1;
    Linear qkv, attn_out;
    LayerNormWeights ln2;
    Linear mlp_in, mlp_out;
  };

  at::Tensor Embed(Pass& pass, Tap& tap) const;
  void RunBlock(int32_t layer, Pass& pass, at::Tensor& resid, Tap& tap) const;
  at::Tensor Attend(int32_t layer, Pass& pass, const at::Tensor& qkv, at::Tensor& resid,
                    Tap& tap) const;
  void RunMlp(int32_t layer, const Pass& pass, at::Tensor& resid, Tap& tap) const;
  at::Tensor Neurons(int32_t layer, const Pass& pass, const at::Tensor& ln2, Tap& tap) const;
  at::Tensor Norm(const at::Tensor& x, const LayerNormWeights& weights, Site scale_site,
                  int32_t layer, const Pass& pass, Tap& tap) const;
  void Logits(const Pass& pass, const at::Tensor& hidden, Tap& tap,
              std::vector<RowAnswer>& answers) const;

  const Gpt2Config config_;
  const at::Device device_;
  at::Tensor wte_, wpe_;
  std::vector<Block> blocks_;
  LayerNormWeights ln_f_;
  std::optional<Linear> head_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_GPT2_H_
