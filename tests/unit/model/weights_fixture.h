// A tiny model's weights as files, and tests that load them.

#ifndef SCALPEL_TESTS_UNIT_MODEL_WEIGHTS_FIXTURE_H_
#define SCALPEL_TESTS_UNIT_MODEL_WEIGHTS_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "server/model/weights.h"
#include "tests/unit/model/temp_folder.h"

namespace scalpel::model {

inline constexpr char kFile[] = "model.safetensors";

inline Gpt2Config TinyConfig() {
  Gpt2Config config;
  config.n_layer = 2;
  config.n_head = 2;
  config.d_model = 4;
  config.d_head = 2;
  config.d_mlp = 6;
  config.n_ctx = 5;
  config.vocab_size = 7;
  return config;
}

using Tensors = std::map<std::string, at::Tensor>;

// The weights under HuggingFace's names, without a prefix.
inline Tensors Named(const Weights& weights) {
  Tensors tensors = {{"wte.weight", weights.wte},
                     {"wpe.weight", weights.wpe},
                     {"ln_f.weight", weights.ln_f.gain},
                     {"ln_f.bias", weights.ln_f.bias}};
  for (size_t i = 0; i < weights.blocks.size(); ++i) {
    const BlockWeights& block = weights.blocks[i];
    const std::string prefix = "h." + std::to_string(i) + ".";
    tensors[prefix + "ln_1.weight"] = block.ln1.gain;
    tensors[prefix + "ln_1.bias"] = block.ln1.bias;
    tensors[prefix + "attn.c_attn.weight"] = block.qkv.weight;
    tensors[prefix + "attn.c_attn.bias"] = block.qkv.bias;
    tensors[prefix + "attn.c_proj.weight"] = block.attn_out.weight;
    tensors[prefix + "attn.c_proj.bias"] = block.attn_out.bias;
    tensors[prefix + "ln_2.weight"] = block.ln2.gain;
    tensors[prefix + "ln_2.bias"] = block.ln2.bias;
    tensors[prefix + "mlp.c_fc.weight"] = block.mlp_in.weight;
    tensors[prefix + "mlp.c_fc.bias"] = block.mlp_in.bias;
    tensors[prefix + "mlp.c_proj.weight"] = block.mlp_out.weight;
    tensors[prefix + "mlp.c_proj.bias"] = block.mlp_out.bias;
  }
  return tensors;
}

inline Tensors Prefixed(const Tensors& tensors) {
  Tensors prefixed;
  for (const auto& [name, tensor] : tensors) prefixed["transformer." + name] = tensor;
  return prefixed;
}

inline std::string DtypeText(at::ScalarType type) {
  switch (type) {
    case at::kHalf:
      return "F16";
    case at::kBFloat16:
      return "BF16";
    case at::kDouble:
      return "F64";
    case at::kBool:
      return "BOOL";
    default:
      return "F32";
  }
}

// A safetensors file with these tensors.
inline std::string FileBytes(const Tensors& tensors,
                             const std::map<std::string, std::string>& metadata = {}) {
  std::string json = "{";
  if (!metadata.empty()) json += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    std::string shape;
    for (const int64_t size : tensor.sizes()) {
      shape += (shape.empty() ? "" : ",") + std::to_string(size);
    }
    const size_t begin = data.size();
    const at::Tensor dense = tensor.contiguous();
    data.append(static_cast<const char*>(dense.const_data_ptr()), dense.nbytes());
    json += (json.size() > 1 ? ",\"" : "\"") + name + "\":{\"dtype\":\"" +
            DtypeText(tensor.scalar_type()) + "\",\"shape\":[" + shape + "],\"data_offsets\":[" +
            std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
  }
  json += "}";
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(json.size() >> (8 * i)));
  return bytes + json + data;
}

class LoadWeightsTest : public TempFolderTest {
 protected:
  absl::StatusOr<Weights> LoadFile(const Tensors& tensors) {
    Write(dir_ / kFile, FileBytes(tensors, metadata_));
    return LoadWeights(dir_, config_);
  }

  void ExpectRefused(const absl::StatusOr<Weights>& weights, const std::string& words) {
    EXPECT_EQ(weights.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(weights.status().message()), testing::HasSubstr(words));
  }

  // The same values, float32, contiguous.
  void ExpectLoaded(const absl::StatusOr<Weights>& weights) {
    ASSERT_TRUE(weights.ok()) << weights.status();
    const Tensors loaded = Named(*weights);
    for (const auto& [name, tensor] : tensors_) {
      EXPECT_EQ(loaded.at(name).scalar_type(), at::kFloat) << name;
      EXPECT_TRUE(loaded.at(name).is_contiguous()) << name;
      EXPECT_TRUE(at::equal(loaded.at(name), tensor)) << name;
    }
  }

  Gpt2Config config_ = TinyConfig();
  std::map<std::string, std::string> metadata_;
  Weights weights_ = RandomWeights(config_, 1);
  Tensors tensors_ = Named(weights_);
};

}  // namespace scalpel::model

#endif  // SCALPEL_TESTS_UNIT_MODEL_WEIGHTS_FIXTURE_H_
