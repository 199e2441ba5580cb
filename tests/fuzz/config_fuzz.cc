// Fuzzes the reader of config.json. What it accepts is within bounds, and says the same when it is
// written anew.

#include <nlohmann/json.hpp>
#include <string>

#include "server/model/config.h"
#include "tests/fuzz/fuzz.h"

namespace {

using scalpel::model::Gpt2Config;

std::string Written(const Gpt2Config& config) {
  nlohmann::json json = {
      {"model_type", config.model_type},
      {"n_layer", config.n_layer},
      {"n_head", config.n_head},
      {"n_embd", config.d_model},
      {"n_inner", config.d_mlp},
      {"n_positions", config.n_ctx},
      {"vocab_size", config.vocab_size},
      {"layer_norm_epsilon", config.layer_norm_epsilon},
      {"activation_function", std::string(scalpel::model::ActivationName(config.activation))},
      {"scale_attn_weights", config.scale_attn_weights},
      {"scale_attn_by_inverse_layer_idx", config.scale_attn_by_inverse_layer_idx},
      {"reorder_and_upcast_attn", config.reorder_and_upcast_attn},
  };
  if (config.says_tie_word_embeddings) json["tie_word_embeddings"] = config.tie_word_embeddings;
  return json.dump();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = scalpel::model::ParseConfig(scalpel::fuzz::Text(data, size));
  if (!config.ok()) {
    HOLDS(absl::IsInvalidArgument(config.status()));
    scalpel::fuzz::HoldsForMessage(config.status());
    return 0;
  }
  HOLDS(config->n_layer > 0 && config->d_head > 0 && config->d_mlp > 0 && config->n_ctx > 0);
  HOLDS(config->d_head * config->n_head == config->d_model);
  HOLDS(config->layer_norm_epsilon > 0 && config->layer_norm_epsilon <= 1);
  HOLDS(config->ParameterCount() > 0);
  const std::string written = Written(*config);
  const auto again = scalpel::model::ParseConfig(written);
  HOLDS(again.ok() && Written(*again) == written);
  HOLDS(again->ParameterCount() == config->ParameterCount());
  return 0;
}
