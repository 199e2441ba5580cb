// The architecture of a GPT-2 checkpoint, read from HuggingFace's config.json.
//
// A field that changes the maths is either honoured or refused with an error that names it. Fields
// that matter only for training (dropout, initialisation) or other heads are ignored, and so are
// those for generation but eos_token_id.

#ifndef SCALPEL_SERVER_MODEL_CONFIG_H_
#define SCALPEL_SERVER_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/kernels/activation.h"

namespace scalpel::model {

// The MLP's nonlinearity.
using kernels::Activation;

// Returns transformers' name of the function, such as "gelu_new"; the first in kernels/activation.h
// if it has several. The string is static.
std::string_view ActivationName(Activation activation);

// ParseConfig guarantees that every size is positive and bounded, d_model == n_head * d_head, and 0
// < layer_norm_epsilon <= 1.
struct Gpt2Config {
  std::string model_type = "gpt2";
  int64_t n_layer = 12;
  int64_t n_head = 12;
  int64_t d_model = 768;
  int64_t d_head = 64;
  int64_t d_mlp = 3072;  // n_inner; 4 * d_model if that is null or absent
  int64_t n_ctx = 1024;  // n_positions: rows of wpe
  int64_t vocab_size = 50257;
  double layer_norm_epsilon = 1e-5;
  Activation activation = Activation::kGeluNew;
  bool scale_attn_weights = true;                // scores / sqrt(d_head)
  bool scale_attn_by_inverse_layer_idx = false;  // scores / (layer + 1)
  // transformers then computes scores and softmax in float32. A model that is in float32 anyway
  // differs only in that the query is scaled before the product instead of the scores after it.
  bool reorder_and_upcast_attn = false;
  bool tie_word_embeddings = true;  // lm_head shares wte
  // Whether tie_word_embeddings is in the file and not null. If not, transformers 4 ties the head;
  // 5 does so only if no other head is stored.
  bool says_tie_word_embeddings = false;
  // The end-of-text tokens: eos_token_id, a number or a list. Those outside the vocabulary are left
  // out, and so is a field that is neither.
  std::vector<int32_t> eos_token_ids = {};

  // Returns the number of elements of all weights. lm_head counts only if it is not tied.
  int64_t ParameterCount() const;
};

// The largest config.json that is accepted, in bytes.
inline constexpr int64_t kConfigBytesMax = int64_t{1} << 20;

// Parses the text of config.json. Missing fields have the defaults of transformers' GPT2Config. A
// flag that is null is false, except that tie_word_embeddings then counts as missing. The aliases
// hidden_size, num_hidden_layers, num_attention_heads and max_position_embeddings are accepted;
// n_ctx is ignored, as transformers ignores it. Errors are INVALID_ARGUMENT and name the field.
// Thread-safe.
absl::StatusOr<Gpt2Config> ParseConfig(std::string_view json);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_CONFIG_H_
