// GPT-2's forward pass over packed rows, with every site inline.
//
// The model is const and shared; everything of one run is an argument. Rows of different length lie
// packed, without padding, in one [tokens, d_model] tensor, and positions are absolute per row.

#ifndef SCALPEL_SERVER_MODEL_GPT2_H_
#define SCALPEL_SERVER_MODEL_GPT2_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "server/model/config.h"
#include "server/model/kernels.h"
#include "server/model/site.h"
#include "server/model/weights.h"

namespace scalpel::model {

// Where each row lies in the packed tensors. Rows of equal length lie side by side, so that
// attention runs over a group of them without gathering; rows keep the caller's numbers.
class Packing {
 public:
  struct Group {
    std::vector<int32_t> rows;  // in order of their offsets
    int64_t offset;             // of the first row
    int64_t length;             // tokens of each
  };

  // `lengths`: tokens of each row, each at least 1. A group holds at most `group_scores_max`
  // attention scores of a head, but always at least one row: this bounds what one layer's attention
  // takes in memory.
  explicit Packing(absl::Span<const int64_t> lengths, int64_t group_scores_max = int64_t{1} << 21);

  int64_t tokens() const { return tokens_; }
  int32_t rows() const { return static_cast<int32_t>(lengths_.size()); }
  int64_t offset(int32_t row) const { return offsets_[row]; }
  int64_t length(int32_t row) const { return lengths_[row]; }
  const std::vector<Group>& groups() const { return groups_; }
  // The slice of a packed tensor [tokens, ...] that belongs to a row: a view [length, ...].
  at::Tensor Slice(const at::Tensor& packed, int32_t row) const {
    return packed.narrow(0, offsets_[row], lengths_[row]);
  }

 private:
  int64_t tokens_ = 0;
  std::vector<int64_t> lengths_, offsets_;
  std::vector<Group> groups_;
};

// What a Tap sees of one site: for each row a view of the activations, in the shape that site.h
// says.
struct SiteValue {
  Site site;
  std::vector<at::Tensor> rows;
};

// Looks at activations, and changes them in place, while the model runs. Called on the thread that
// runs Forward.
class Tap {
 public:
  virtual ~Tap() = default;
  // Whether Visit is to be called at this site. Nothing is computed for a site that nobody wants.
  virtual bool Wants(Site site, int32_t layer) const = 0;
  // Whether Visit may write there.
  virtual bool Edits(Site site, int32_t layer) const = 0;
  // `values` share one storage: one site, or QKV with its views Q, K and V. A write is seen by the
  // rest of the forward pass, except at the observe-only sites (the three LayerNorm scales and
  // HEAD_RESULT).
  virtual void Visit(absl::Span<const SiteValue> values, int32_t layer) = 0;
  // Called when the embeddings (kNoLayer) or a block are done. False: stop the forward pass here.
  virtual bool LayerDone(int32_t layer) = 0;
};

// Immutable after construction: const methods are thread-safe.
class Gpt2 {
 public:
  // Moves the weights to `device` and packs them for it.
  Gpt2(const Gpt2Config& config, Weights weights, at::Device device);

  const Gpt2Config& config() const { return config_; }
  at::Device device() const { return device_; }
  std::string_view kernels() const { return LinearKernelName(kernel_, device_); }

  // Runs the model over all rows.
  // `ids`: token ids by packed position, int64 [packing.tokens()], on device(). `logit_positions`:
  // by row, the positions whose logits are returned; may be empty. Returns, by row, logits
  // [positions, vocab] (undefined for a row without positions); nullopt when the tap stopped it.
  // Throws c10::Error; keep an InferenceMode guard around it.
  std::optional<std::vector<at::Tensor>> Forward(
      const Packing& packing, const at::Tensor& ids,
      absl::Span<const std::vector<int64_t>> logit_positions, Tap& tap) const;

 private:
  struct Block {
    LayerNormWeights ln1;
    Linear qkv, attn_out;
    at::Tensor attn_out_heads;  // the output projection's weight by head, [H, dh, d]
    LayerNormWeights ln2;
    Linear mlp_in, mlp_out;
  };

  at::Tensor Embed(const Packing& packing, const at::Tensor& ids, Tap& tap) const;
  void RunBlock(int32_t layer, const Packing& packing, at::Tensor& resid, Tap& tap) const;
  at::Tensor Attention(int32_t layer, const Packing& packing, const at::Tensor& qkv,
                       Tap& tap) const;
  at::Tensor Scores(int32_t layer, const Packing::Group& group, const at::Tensor& qkv) const;
  at::Tensor LayerNorm(const at::Tensor& x, const LayerNormWeights& weights, Site scale_site,
                       int32_t layer, const Packing& packing, Tap& tap) const;
  std::vector<at::Tensor> Logits(const Packing& packing, const at::Tensor& hidden,
                                 absl::Span<const std::vector<int64_t>> positions, Tap& tap) const;

  const Gpt2Config config_;
  const at::Device device_;
  const LinearKernel kernel_;
  at::Tensor wte_, wpe_;
  std::vector<Block> blocks_;
  LayerNormWeights ln_f_;
  std::optional<Linear> head_;
};

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_GPT2_H_
