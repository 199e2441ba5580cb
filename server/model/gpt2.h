// GPT-2's forward pass over packed rows, with every site inline.
//
// The model is const and shared; everything of one run is an argument. Rows of different length lie
// packed, without padding, in one [tokens, d_model] tensor, and positions are absolute per row. A
// row enters where it stops being the clean run of its prompt, if that is known.

#ifndef SCALPEL_SERVER_MODEL_GPT2_H_
#define SCALPEL_SERVER_MODEL_GPT2_H_

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
#include "server/model/tensor.h"
#include "server/model/weights.h"

namespace scalpel::model {

class ForwardPass;

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

  at::Tensor Embed(ForwardPass& pass) const;
  void RunBlock(int32_t layer, ForwardPass& pass, at::Tensor& x) const;
  at::Tensor Attend(ForwardPass& pass, const at::Tensor& qkv, at::Tensor& x) const;
  void Logits(ForwardPass& pass, const at::Tensor& x) const;

  const Gpt2Config config_;
  const at::Device device_;
  at::Tensor wte_, wpe_;
  std::vector<Block> blocks_;
  LayerNormWeights ln_f_;
  std::optional<Linear> head_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_GPT2_H_
