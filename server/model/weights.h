// GPT-2's weights as float32 tensors on the CPU.

#ifndef SCALPEL_SERVER_MODEL_WEIGHTS_H_
#define SCALPEL_SERVER_MODEL_WEIGHTS_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/config.h"

namespace scalpel::model {

struct LayerNormWeights {
  at::Tensor gain;  // [d]
  at::Tensor bias;  // [d]
};

// HuggingFace's Conv1D layout: y = x weight + bias.
struct LinearWeights {
  at::Tensor weight;  // [in, out]
  at::Tensor bias;    // [out]
};

struct BlockWeights {
  LayerNormWeights ln1;
  LinearWeights qkv;       // [d, 3d]: Q columns [0, d), K [d, 2d), V [2d, 3d)
  LinearWeights attn_out;  // [d, d]
  LayerNormWeights ln2;
  LinearWeights mlp_in;   // [d, d_mlp]
  LinearWeights mlp_out;  // [d_mlp, d]
};

struct Weights {
  at::Tensor wte;  // [vocab, d]
  at::Tensor wpe;  // [n_ctx, d]
  std::vector<BlockWeights> blocks;
  LayerNormWeights ln_f;
  at::Tensor lm_head;  // [vocab, d]; the very tensor wte when tied
  // Lower-case hex SHA-256 of the safetensors files' bytes, concatenated in name order; empty for
  // RandomWeights.
  std::string sha256;
};

// Loads model.safetensors, or the shards that model.safetensors.index.json lists, from `dir`.
// Tensors of F32, F16 and BF16 become float32, contiguous and owned: no mapping stays open.
// Every weight must be there, once, in the shape that `config` implies, and finite; or the metadata
// says which stored tensor it shares, as safetensors' save_model writes. Names may have the
// prefixes "transformer.", "model." and "_orig_mod.". A tensor that GPT-2 does not have is refused,
// and so is a head that differs from wte where the config does not say whether they are tied.
// Errors are NOT_FOUND (no such files), INVALID_ARGUMENT (naming file and tensor) or
// RESOURCE_EXHAUSTED (not enough memory). Uses the calling thread and one more.
absl::StatusOr<Weights> LoadWeights(const std::filesystem::path& dir, const Gpt2Config& config);

// Weights for tests, the same for the same seed: normal(0, 0.02) matrices, gains near 1, biases
// near 0 but neither exactly, so that no term of the forward pass is invisible.
Weights RandomWeights(const Gpt2Config& config, uint64_t seed);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_WEIGHTS_H_
