#include "server/model/weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>

#include "tests/unit/model/weights_fixture.h"

namespace scalpel::model {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST_F(LoadWeightsTest, LoadsWithAndWithoutPrefix) {
  ExpectLoaded(LoadFile(tensors_));
  ExpectLoaded(LoadFile(Prefixed(tensors_)));
}

TEST_F(LoadWeightsTest, OwnsItsMemory) {
  const absl::StatusOr<Weights> weights = LoadFile(tensors_);
  fs::remove(dir_ / kFile);
  Write(dir_ / kFile, "");
  ExpectLoaded(weights);
}

TEST_F(LoadWeightsTest, TiedHeadIsTheEmbeddingEvenIfAnotherIsStored) {
  absl::StatusOr<Weights> weights = LoadFile(tensors_);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_TRUE(weights->lm_head.is_same(weights->wte));
  Tensors with_head = tensors_;
  with_head["lm_head.weight"] = tensors_["wte.weight"] + 1;
  config_.says_tie_word_embeddings = true;
  weights = LoadFile(with_head);
  ExpectLoaded(weights);
  EXPECT_TRUE(weights->lm_head.is_same(weights->wte));
}

TEST_F(LoadWeightsTest, AnUntiedHeadNeedsTieWordEmbeddings) {
  Tensors with_head = Prefixed(tensors_);
  with_head["lm_head.weight"] = tensors_["wte.weight"].clone();
  absl::StatusOr<Weights> weights = LoadFile(with_head);
  ExpectLoaded(weights);
  EXPECT_TRUE(weights->lm_head.is_same(weights->wte));
  with_head["lm_head.weight"][6][3].add_(1e-6);
  ExpectRefused(
      LoadFile(with_head),
      "tensor \"lm_head.weight\": differs from \"transformer.wte.weight\", and config.json "
      "does not say tie_word_embeddings: transformers 5 takes it for the head, 4 ignores "
      "it; say false to take it, or true to ignore it");
  with_head["lm_head.weight"] = at::ones({6, 4});
  ExpectRefused(LoadFile(with_head), "tensor \"lm_head.weight\": shape [6, 4]");
}

// What safetensors' save_model writes of a model whose head is its embedding.
TEST_F(LoadWeightsTest, ReadsSharedTensorsFromTheMetadata) {
  for (const bool tied : {true, false}) {
    config_.tie_word_embeddings = config_.says_tie_word_embeddings = tied;
    Tensors kept = Prefixed(tensors_);
    kept["lm_head.weight"] = kept["transformer.wte.weight"];
    kept.erase("transformer.wte.weight");
    metadata_ = {{"transformer.wte.weight", "lm_head.weight"}, {"format", "pt"}};
    absl::StatusOr<Weights> weights = LoadFile(kept);
    ExpectLoaded(weights);
    EXPECT_TRUE(at::equal(weights->lm_head, tensors_["wte.weight"]));

    metadata_ = {{"lm_head.weight", "transformer.wte.weight"}};
    weights = LoadFile(Prefixed(tensors_));
    ExpectLoaded(weights);
    EXPECT_TRUE(at::equal(weights->lm_head, tensors_["wte.weight"]));
  }
}

TEST_F(LoadWeightsTest, ATiedHeadServesAsTheEmbedding) {
  Tensors stored = tensors_;
  stored["lm_head.weight"] = stored["wte.weight"];
  stored.erase("wte.weight");
  ExpectLoaded(LoadFile(stored));
  config_.tie_word_embeddings = false;
  ExpectRefused(LoadFile(stored), "tensor \"wte.weight\" of shape [7, 4] is missing");
}

TEST_F(LoadWeightsTest, SharesOnlyTensorsThatFit) {
  Tensors stored = tensors_;
  stored.erase("h.1.ln_1.bias");
  metadata_ = {{"h.1.ln_1.bias", "h.0.ln_1.bias"}};
  const absl::StatusOr<Weights> weights = LoadFile(stored);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_TRUE(at::equal(weights->blocks[1].ln1.bias, tensors_["h.0.ln_1.bias"]));
  metadata_ = {{"h.1.ln_1.bias", "wpe.weight"}};
  ExpectRefused(LoadFile(stored), "tensor \"wpe.weight\": shape [5, 4], config.json implies [4]");
  metadata_ = {{"h.1.ln_1.bias", "h.7.ln_1.bias"}};
  ExpectRefused(LoadFile(stored), "tensor \"h.1.ln_1.bias\" of shape [4] is missing");
}

TEST_F(LoadWeightsTest, AcceptsTheNamesOfWrappedModels) {
  for (const char* prefix : {"_orig_mod.", "model.", "_orig_mod.transformer.", "model.transformer.",
                             "model._orig_mod.transformer.", "transformer._orig_mod."}) {
    Tensors stored;
    for (const auto& [name, tensor] : tensors_) stored[prefix + name] = tensor;
    stored[std::string(prefix) + "h.0.attn.bias"] = at::ones({1, 1, 5, 5}, at::kBool);
    ExpectLoaded(LoadFile(stored));
  }
  Tensors stored = tensors_;
  stored["_orig_mod.ln_f.bias"] = tensors_["ln_f.bias"];
  ExpectRefused(LoadFile(stored), "stored twice: also as \"_orig_mod.ln_f.bias\"");
  stored = tensors_;
  stored["model.score.weight"] = at::ones({4});
  ExpectRefused(LoadFile(stored), "tensor \"model.score.weight\": GPT-2 with 2 layers has no such");
}

TEST_F(LoadWeightsTest, UntiedHeadIsLoadedAndRequired) {
  config_.tie_word_embeddings = false;
  ExpectRefused(LoadFile(tensors_),
                "tensor \"lm_head.weight\" of shape [7, 4] is missing, and "
                "config.json says tie_word_embeddings false");
  Tensors with_head = Prefixed(tensors_);
  with_head["lm_head.weight"] = tensors_["wte.weight"] + 1;
  const absl::StatusOr<Weights> weights = LoadFile(with_head);
  ExpectLoaded(weights);
  EXPECT_TRUE(at::equal(weights->lm_head, tensors_["wte.weight"] + 1));
}

TEST_F(LoadWeightsTest, ConvertsHalfPrecisionExactly) {
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16}) {
    Tensors stored;
    for (auto& [name, tensor] : tensors_) {
      stored[name] = tensor.to(type);
      tensor = stored[name].to(at::kFloat);
    }
    ExpectLoaded(LoadFile(stored));
  }
}

TEST_F(LoadWeightsTest, SkipsTheMaskBuffersOfOldFiles) {
  Tensors stored = Prefixed(tensors_);
  stored["transformer.h.0.attn.bias"] = at::ones({1, 1, 5, 5}, at::kBool);
  stored["transformer.h.1.attn.masked_bias"] = at::full({}, -1e4);
  ExpectLoaded(LoadFile(stored));
}

TEST_F(LoadWeightsTest, RefusesTensorsThatGpt2DoesNotHave) {
  for (const char* name :
       {"score.weight", "h.2.ln_1.weight", "h.0.attn.biases", "h.x.attn.bias",
        "transformer.transformer.wte.weight", "transformer.lm_head.weight", "h.00.ln_1.bias",
        "model.model.wte.weight", "transformer.model.wte.weight"}) {
    Tensors stored = tensors_;
    stored[name] = at::ones({4});
    ExpectRefused(LoadFile(stored), std::string("model.safetensors: tensor \"") + name +
                                        "\": GPT-2 with 2 layers has no such weight");
  }
}

TEST_F(LoadWeightsTest, RefusesAMissingTensor) {
  Tensors stored = tensors_;
  stored.erase("h.1.mlp.c_fc.weight");
  ExpectRefused(LoadFile(stored),
                "model.safetensors: tensor \"h.1.mlp.c_fc.weight\" of shape "
                "[4, 6] is missing");
}

TEST_F(LoadWeightsTest, RefusesAWrongShape) {
  Tensors stored = tensors_;
  stored["h.0.mlp.c_fc.weight"] = tensors_["h.0.mlp.c_fc.weight"].t();
  ExpectRefused(LoadFile(stored),
                "tensor \"h.0.mlp.c_fc.weight\": shape [6, 4], config.json "
                "implies [4, 6]");
}

TEST_F(LoadWeightsTest, RefusesOtherDtypes) {
  Tensors stored = tensors_;
  stored["ln_f.bias"] = tensors_["ln_f.bias"].to(at::kDouble);
  ExpectRefused(LoadFile(stored), "tensor \"ln_f.bias\": dtype F64 is not supported; convert it");
}

TEST_F(LoadWeightsTest, RefusesATensorStoredTwice) {
  Tensors stored = tensors_;
  stored["transformer.ln_f.bias"] = tensors_["ln_f.bias"];
  ExpectRefused(LoadFile(stored),
                "tensor \"transformer.ln_f.bias\": stored twice: also as \"ln_f.bias\"");
}

TEST_F(LoadWeightsTest, RefusesNonFiniteValuesByName) {
  for (const float bad : {std::numeric_limits<float>::infinity(), -HUGE_VALF, NAN}) {
    for (const at::ScalarType type : {at::kFloat, at::kHalf}) {
      Tensors stored = tensors_;
      stored["h.1.ln_2.bias"] = tensors_["h.1.ln_2.bias"].clone();
      stored["h.1.ln_2.bias"][3] = bad;
      stored["h.1.ln_2.bias"] = stored["h.1.ln_2.bias"].to(type);
      ExpectRefused(LoadFile(stored), "tensor \"h.1.ln_2.bias\": holds NaN or infinity");
    }
  }
}

TEST_F(LoadWeightsTest, RefusesBrokenFiles) {
  const std::string bytes = FileBytes(tensors_);
  Write(dir_ / kFile, bytes.substr(0, bytes.size() - 1));
  ExpectRefused(LoadWeights(dir_, config_), "is it truncated?");
  fs::remove(dir_ / kFile);
  Write(root_ / "elsewhere", bytes);
  fs::create_symlink("../elsewhere", dir_ / kFile);
  ExpectRefused(LoadWeights(dir_, config_), "model.safetensors: a symbolic link to a file outside");
}

TEST_F(LoadWeightsTest, NamesTheFilesItLooksFor) {
  Write(dir_ / "pytorch_model.bin", "x");
  const absl::StatusOr<Weights> weights = LoadWeights(dir_, config_);
  EXPECT_TRUE(absl::IsNotFound(weights.status()));
  EXPECT_THAT(std::string(weights.status().message()),
              HasSubstr("neither model.safetensors nor model.safetensors.index.json"));
}

TEST_F(LoadWeightsTest, HashesTheFilesBytes) {
  for (auto& [name, tensor] : tensors_) tensor = at::full_like(tensor, 0.5);
  // What sha256sum prints for this file.
  EXPECT_EQ(LoadFile(tensors_)->sha256,
            "4eac8d5dfce7fb7ad460fea2eee74e24c92e33d56bc5c334ba83f89d5fbefe82");
}

TEST(RandomWeights, AreReproducibleAndNotTrivial) {
  const Tensors first = Named(RandomWeights(TinyConfig(), 1));
  const Tensors again = Named(RandomWeights(TinyConfig(), 1));
  const Tensors other = Named(RandomWeights(TinyConfig(), 2));
  EXPECT_EQ(first.size(), 4u + 2 * 12);
  for (const auto& [name, tensor] : first) {
    EXPECT_TRUE(at::equal(tensor, again.at(name))) << name;
    EXPECT_FALSE(at::equal(tensor, other.at(name))) << name;
    EXPECT_GT(tensor.std().item<float>(), 0) << name;
  }
  EXPECT_NEAR(first.at("ln_f.weight").mean().item<float>(), 1, 0.3);
  EXPECT_NEAR(first.at("wte.weight").mean().item<float>(), 0, 0.02);
}

TEST(RandomWeights, UntieTheHeadAsTheConfigSays) {
  Gpt2Config config = TinyConfig();
  const Weights tied = RandomWeights(config, 1);
  EXPECT_TRUE(tied.lm_head.is_same(tied.wte));
  config.tie_word_embeddings = false;
  const Weights untied = RandomWeights(config, 1);
  EXPECT_FALSE(at::equal(untied.lm_head, untied.wte));
}

}  // namespace
}  // namespace scalpel::model
