// The architecture of a GPT-2 checkpoint, read from HuggingFace's config.json.
//
// Every field that changes the maths is honoured or refused by name; fields that only matter for
// training (dropout, initialisation), generation or other heads are ignored.

#ifndef SCALPEL_SERVER_MODEL_CONFIG_H_
#define SCALPEL_SERVER_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/kernels/activation.h"

namespace scalpel::model {

// The MLP's nonlinearity.
using kernels::Activation;

// The function's first name in the list above, as transformers spells it: "gelu_new".
std::string_view ActivationName(Activation activation);

// Sizes are counts. Invariants that ParseConfig guarantees: every size is positive and bounded,
// d_model == n_head * d_head, 0 < layer_norm_epsilon <= 1.
struct Gpt2Config {
  std::string model_type = "gpt2";
  int64_t n_layer = 12;
  int64_t n_head = 12;
  int64_t d_model = 768;
  int64_t d_head = 64;
  int64_t d_mlp = 3072;  // n_inner; 4 * d_model where the file says null or nothing
  int64_t n_ctx = 1024;  // n_positions: rows of wpe
  int64_t vocab_size = 50257;
  double layer_norm_epsilon = 1e-5;
  Activation activation = Activation::kGeluNew;
  bool scale_attn_weights = true;                // scores / sqrt(d_head)
  bool scale_attn_by_inverse_layer_idx = false;  // scores / (layer + 1)
  // Scores by a scaled GEMM in float32, softmax in float32. In float32 only the order of scaling
  // differs: the scale goes into the product instead of after it.
  bool reorder_and_upcast_attn = false;
  bool tie_word_embeddings = true;  // lm_head shares wte
  // Whether the file says so, and not null: where it does not, transformers 4 ties, and 5 only if
  // no other head is stored.
  bool says_tie_word_embeddings = false;

  // Elements of all weights together; lm_head counts only when it is untied.
  int64_t ParameterCount() const;
};

// Bytes of config.json that are read at most.
inline constexpr int64_t kConfigBytesMax = int64_t{1} << 20;

// Parses the text of config.json. Missing fields take GPT2Config's defaults; a flag that is null is
// false, and tie_word_embeddings is then not said; the aliases
// hidden_size, num_hidden_layers, num_attention_heads and max_position_embeddings are accepted
// (n_ctx is ignored, as transformers does). Errors are INVALID_ARGUMENT and name the field.
absl::StatusOr<Gpt2Config> ParseConfig(std::string_view json);

}  // namespace scalpel::model

#endif  // SCALPEL_SERVER_MODEL_CONFIG_H_
