// Weights in several files, which an index lists.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "tests/unit/model/weights_fixture.h"

namespace scalpel::model {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kIndex[] = "model.safetensors.index.json";

class ShardedTest : public LoadWeightsTest {
 protected:
  void SetUp() override {
    LoadWeightsTest::SetUp();
    for (const auto& [name, tensor] : tensors_) {
      (name < "h.1" ? first_ : second_)[name] = tensor;
    }
    Write(dir_ / "a.safetensors", FileBytes(first_));
    Write(dir_ / "b.safetensors", FileBytes(second_));
  }

  void WriteIndex(const std::map<std::string, std::string>& others) {
    std::map<std::string, std::string> map;
    for (const auto& entry : first_) map[entry.first] = "a.safetensors";
    for (const auto& entry : second_) map[entry.first] = "b.safetensors";
    for (const auto& [name, file] : others) map[name] = file;
    std::string json;
    for (const auto& [name, file] : map) {
      json += (json.empty() ? "\"" : ",\"") + name + "\":\"" + file + "\"";
    }
    Write(dir_ / kIndex, "{\"metadata\":{\"total_size\":1},\"weight_map\":{" + json + "}}");
  }

  Tensors first_;
  Tensors second_;
};

TEST_F(ShardedTest, LoadsAllShardsAndHashesThemInNameOrder) {
  WriteIndex({});
  const absl::StatusOr<Weights> weights = LoadWeights(dir_, config_);
  ExpectLoaded(weights);
  // b before a by name is another hash.
  fs::rename(dir_ / "a.safetensors", dir_ / "x");
  fs::rename(dir_ / "b.safetensors", dir_ / "a.safetensors");
  fs::rename(dir_ / "x", dir_ / "b.safetensors");
  std::swap(first_, second_);
  WriteIndex({});
  EXPECT_NE(LoadWeights(dir_, config_)->sha256, weights->sha256);
}

TEST_F(ShardedTest, RefusesFileNamesThatLeaveTheFolder) {
  for (const char* file : {"../a.safetensors", "/etc/passwd", "..", "", "sub/a.safetensors"}) {
    WriteIndex({{"wte.weight", file}});
    ExpectRefused(LoadWeights(dir_, config_),
                  "model.safetensors.index.json: weight_map[\"wte."
                  "weight\"]: \"" +
                      std::string(file) + "\" is not a plain file name");
  }
}

TEST_F(ShardedTest, RefusesAWrongIndex) {
  WriteIndex({{"wte.weight", "a.safetensors"}});
  ExpectRefused(LoadWeights(dir_, config_),
                "tensor \"wte.weight\" is not in a.safetensors as it says");
  WriteIndex({{"wte.weight", "c.safetensors"}});
  const absl::Status missing = LoadWeights(dir_, config_).status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_THAT(std::string(missing.message()), HasSubstr("c.safetensors: No such file"));
  for (const char* json : {"{}", "[]", "{\"weight_map\":[]}", "{\"weight_map\":{}}"}) {
    Write(dir_ / kIndex, json);
    ExpectRefused(LoadWeights(dir_, config_), "weight_map is not an object");
  }
  Write(dir_ / kIndex, "{\"weight_map\":{\"wte.weight\":1}}");
  ExpectRefused(LoadWeights(dir_, config_), "weight_map[\"wte.weight\"] is not a file name");
}

TEST_F(ShardedTest, RefusesATensorInTwoShards) {
  first_["wte.weight"] = tensors_["wte.weight"];
  Write(dir_ / "a.safetensors", FileBytes(first_));
  WriteIndex({});
  ExpectRefused(LoadWeights(dir_, config_),
                "b.safetensors: tensor \"wte.weight\": stored twice: "
                "also as \"wte.weight\" in a.safetensors");
}

}  // namespace
}  // namespace scalpel::model
