// GPT-2's weights, as float32 tensors on the CPU.

#ifndef SCALPEL_SERVER_MODEL_WEIGHTS_H_
#define SCALPEL_SERVER_MODEL_WEIGHTS_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/config.h"
#include "server/model/tensor.h"

namespace scalpel::model {

// d: d_model; vocab: vocab_size.

struct LayerNormWeights {
  at::Tensor gain;  // [d]
  at::Tensor bias;  // [d]
};

// y = x weight + bias, in the layout of HuggingFace's Conv1D.
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
  at::Tensor lm_head;  // [vocab, d]; the same tensor object as wte if tied
  // SHA-256 of the bytes of all safetensors files, in order of their names, in lower-case
  // hexadecimal. Empty for RandomWeights.
  std::string sha256;
};

// Loads model.safetensors, or the shards that model.safetensors.index.json lists, from the folder
// `dir`. F32, F16 and BF16 tensors become contiguous float32 tensors that own their memory; no file
// stays open or mapped.
//
// Every weight must be stored exactly once, with finite elements and in the shape that `config`
// implies; or the metadata must name the stored tensor that it shares, as safetensors' save_model
// writes. Names may have the prefixes "transformer.", "model." and "_orig_mod.". A tensor that
// GPT-2 does not have is an error, and so is a stored head that differs from wte if the config does
// not say whether they are tied.
//
// NOT_FOUND if there are no such files; INVALID_ARGUMENT, naming file and tensor;
// RESOURCE_EXHAUSTED if memory or threads run out; INTERNAL if OpenSSL cannot compute the hash; and
// the errors of OpenModelFile. Uses the calling thread and one more.
absl::StatusOr<Weights> LoadWeights(const std::filesystem::path& dir, const Gpt2Config& config);

// Returns weights for tests, which depend only on `config` and `seed`: matrices and biases are
// normal(0, 0.02), gains normal(1, 0.1). Gains differ from 1 and biases from 0 so that a test
// notices if a term of the forward pass is missing.
Weights RandomWeights(const Gpt2Config& config, uint64_t seed);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_WEIGHTS_H_
