#include "server/model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace scalpel::model {
namespace {

using ::testing::HasSubstr;

// Parses {"model_type": "gpt2", <fields>}.
absl::StatusOr<Gpt2Config> Parse(const std::string& fields) {
  return ParseConfig(R"({"model_type": "gpt2")" + (fields.empty() ? "" : ", " + fields) + "}");
}

void ExpectRefused(const absl::StatusOr<Gpt2Config>& config, const std::string& words) {
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(words));
}

TEST(ParseConfig, MissingFieldsTakeGpt2Defaults) {
  const absl::StatusOr<Gpt2Config> config = Parse("");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model_type, "gpt2");
  EXPECT_EQ(config->n_layer, 12);
  EXPECT_EQ(config->n_head, 12);
  EXPECT_EQ(config->d_model, 768);
  EXPECT_EQ(config->d_head, 64);
  EXPECT_EQ(config->d_mlp, 3072);
  EXPECT_EQ(config->n_ctx, 1024);
  EXPECT_EQ(config->vocab_size, 50257);
  EXPECT_EQ(config->layer_norm_epsilon, 1e-5);
  EXPECT_EQ(config->activation, Activation::kGeluNew);
  EXPECT_TRUE(config->scale_attn_weights);
  EXPECT_FALSE(config->scale_attn_by_inverse_layer_idx);
  EXPECT_FALSE(config->reorder_and_upcast_attn);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_EQ(config->ParameterCount(), 124'439'808);  // "124 M"
}

TEST(ParseConfig, ReadsEveryFieldThatChangesTheMaths) {
  const absl::StatusOr<Gpt2Config> config = Parse(R"(
      "n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 20, "vocab_size": 99, "n_inner": 50,
      "layer_norm_epsilon": 1e-3, "activation_function": "relu", "scale_attn_weights": false,
      "scale_attn_by_inverse_layer_idx": true, "reorder_and_upcast_attn": true,
      "tie_word_embeddings": false, "attn_pdrop": 0.5, "n_ctx": 7)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->n_layer, 3);
  EXPECT_EQ(config->n_head, 4);
  EXPECT_EQ(config->d_model, 32);
  EXPECT_EQ(config->d_head, 8);
  EXPECT_EQ(config->n_ctx, 20);
  EXPECT_EQ(config->vocab_size, 99);
  EXPECT_EQ(config->d_mlp, 50);
  EXPECT_EQ(config->layer_norm_epsilon, 1e-3);
  EXPECT_EQ(config->activation, Activation::kRelu);
  EXPECT_FALSE(config->scale_attn_weights);
  EXPECT_TRUE(config->scale_attn_by_inverse_layer_idx);
  EXPECT_TRUE(config->reorder_and_upcast_attn);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_TRUE(config->says_tie_word_embeddings);
}

TEST(ParseConfig, NullInnerIsFourTimesTheWidth) {
  const absl::StatusOr<Gpt2Config> config = Parse(R"("n_embd": 24, "n_inner": null)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->d_mlp, 96);
}

// As transformers 4.57 computes with it.
TEST(ParseConfig, ReadsANullFlagAsFalse) {
  const absl::StatusOr<Gpt2Config> config =
      Parse(R"("scale_attn_weights": null, "scale_attn_by_inverse_layer_idx": null,
               "reorder_and_upcast_attn": null, "tie_word_embeddings": null)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->scale_attn_weights);
  EXPECT_FALSE(config->scale_attn_by_inverse_layer_idx);
  EXPECT_FALSE(config->reorder_and_upcast_attn);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_FALSE(config->says_tie_word_embeddings);
  EXPECT_TRUE(Parse(R"("tie_word_embeddings": true)")->says_tie_word_embeddings);
}

TEST(ParseConfig, AcceptsAliases) {
  const absl::StatusOr<Gpt2Config> config = Parse(R"(
      "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8,
      "max_position_embeddings": 16)");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->n_layer, 2);
  EXPECT_EQ(config->n_head, 2);
  EXPECT_EQ(config->d_model, 8);
  EXPECT_EQ(config->n_ctx, 16);
  EXPECT_EQ(config->d_mlp, 32);
}

TEST(ParseConfig, RefusesContradictingAliases) {
  ExpectRefused(Parse(R"("n_embd": 24, "hidden_size": 48)"),
                "n_embd: is 24 but its alias hidden_size is 48");
}

TEST(ParseConfig, ActivationsHaveTransformersNames) {
  const std::pair<const char*, Activation> expected[] = {
      {"gelu_new", Activation::kGeluNew},
      {"gelu_fast", Activation::kGeluNew},
      {"gelu_accurate", Activation::kGeluNew},
      {"gelu_pytorch_tanh", Activation::kGeluNew},
      {"gelu_python_tanh", Activation::kGeluNew},
      {"gelu", Activation::kGelu},
      {"gelu_python", Activation::kGelu},
      {"gelu_10", Activation::kGelu10},
      {"quick_gelu", Activation::kQuickGelu},
      {"relu", Activation::kRelu},
      {"relu2", Activation::kRelu2},
      {"relu6", Activation::kRelu6},
      {"leaky_relu", Activation::kLeakyRelu},
      {"silu", Activation::kSilu},
      {"swish", Activation::kSilu},
      {"mish", Activation::kMish},
      {"tanh", Activation::kTanh},
      {"sigmoid", Activation::kSigmoid},
      {"laplace", Activation::kLaplace},
      {"linear", Activation::kLinear},
  };
  for (const auto& [name, activation] : expected) {
    const auto config = Parse(std::string(R"("activation_function": ")") + name + "\"");
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->activation, activation) << name;
  }
  EXPECT_EQ(ActivationName(Activation::kGeluNew), "gelu_new");
  EXPECT_EQ(ActivationName(Activation::kGelu), "gelu");
  EXPECT_EQ(ActivationName(Activation::kSilu), "silu");
}

TEST(ParseConfig, RefusesUnknownActivationsByName) {
  ExpectRefused(Parse(R"("activation_function": "prelu")"),
                "activation_function: \"prelu\" is not supported; supported are: gelu_new");
  ExpectRefused(Parse(R"("activation_function": 3)"), "activation_function: 3 is not supported");
}

TEST(ParseConfig, RefusesOtherModels) {
  ExpectRefused(ParseConfig(R"({"model_type": "llama"})"),
                "model_type: \"llama\" is not supported; only \"gpt2\" is");
  ExpectRefused(ParseConfig("{}"), "model_type: is missing");
  ExpectRefused(Parse(R"("architectures": ["GPT2ForSequenceClassification"])"),
                "architectures: \"GPT2ForSequenceClassification\" is not supported");
  EXPECT_TRUE(Parse(R"("architectures": ["GPT2LMHeadModel"])").ok());
  EXPECT_TRUE(ParseConfig(R"({"architectures": ["GPT2Model"]})").ok());
}

TEST(ParseConfig, RefusesUnsupportedFeatures) {
  ExpectRefused(Parse(R"("add_cross_attention": true)"), "add_cross_attention: is not supported");
  ExpectRefused(Parse(R"("quantization_config": {"bits": 8})"),
                "quantization_config: is not supported");
  ExpectRefused(Parse(R"("pruned_heads": {"0": [1]})"), "pruned_heads: is not supported");
  EXPECT_TRUE(Parse(R"("add_cross_attention": false, "quantization_config": null,
                       "pruned_heads": {})")
                  .ok());
}

TEST(ParseConfig, BoundsEverySize) {
  for (const char* field : {"n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "n_inner",
                            "num_hidden_layers"}) {
    for (const char* value :
         {"0", "-1", "1.5", "\"12\"", "true", "99999999999", "18446744073709551616", "1e400"}) {
      const auto config = Parse("\"" + std::string(field) + "\": " + value);
      ExpectRefused(config,
                    std::string(value) == "1e400" ? "not valid JSON" : std::string(field) + ": ");
    }
  }
  ExpectRefused(Parse(R"("n_layer": null)"), "n_layer: null is not an integer in [1, 1024]");
}

TEST(ParseConfig, RefusesInconsistentSizes) {
  ExpectRefused(Parse(R"("n_embd": 100, "n_head": 12)"),
                "n_embd: 100 is not divisible by n_head 12");
  ExpectRefused(Parse(R"("n_embd": 65536, "n_head": 1, "n_layer": 1024)"), "parameters; the limit");
}

TEST(ParseConfig, RefusesBadEpsilonAndFlags) {
  for (const char* value : {"0", "-1e-5", "2", "\"1e-5\"", "null"}) {
    ExpectRefused(Parse(std::string("\"layer_norm_epsilon\": ") + value), "layer_norm_epsilon: ");
  }
  for (const char* flag : {"scale_attn_weights", "scale_attn_by_inverse_layer_idx",
                           "reorder_and_upcast_attn", "tie_word_embeddings"}) {
    ExpectRefused(Parse("\"" + std::string(flag) + "\": 1"),
                  std::string(flag) + ": 1 is not true or false");
  }
}

TEST(ParseConfig, RefusesTextThatIsNotOneJsonObject) {
  ExpectRefused(ParseConfig(""), "config.json: not valid JSON");
  ExpectRefused(ParseConfig("[]"), "config.json: not a JSON object");
  ExpectRefused(ParseConfig("{\"model_type\": \"gpt2\"} x"), "config.json: not valid JSON");
  ExpectRefused(ParseConfig(std::string("{\"model_type\": \"gpt2\"}\0x", 25)), "a NUL at byte");
  ExpectRefused(Parse(R"("n_layer": 1, "n_layer": 2)"), "duplicate key \"n_layer\"");
  ExpectRefused(Parse("\"x\": " + std::string(100, '[') + std::string(100, ']')), "nested deeper");
  ExpectRefused(ParseConfig(std::string((1 << 20) + 1, ' ')), "larger than 1048576 bytes");
}

}  // namespace
}  // namespace scalpel::model
