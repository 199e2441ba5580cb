#include "client/cpp/npy.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "client/cpp/tensor_files.h"

namespace scalpel::client {
namespace {

// The Python dictionary inside a header, after checks of everything around it.
std::string DictionaryOf(const std::string& header) {
  EXPECT_EQ(header.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  EXPECT_EQ(header.size() % 64, 0u);
  EXPECT_EQ(static_cast<unsigned char>(header[8]) + 256 * static_cast<unsigned char>(header[9]),
            header.size() - 10);
  EXPECT_EQ(header.back(), '\n');
  const std::string text = header.substr(10, header.size() - 11);
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

TEST(ClientNpy, WritesHeaders) {
  EXPECT_EQ(DictionaryOf(NpyHeader(v1::DATA_TYPE_FLOAT32, {2, 3})),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
  EXPECT_EQ(DictionaryOf(NpyHeader(v1::DATA_TYPE_FLOAT16, {5})),
            "{'descr': '<f2', 'fortran_order': False, 'shape': (5,), }");
  EXPECT_EQ(DictionaryOf(NpyHeader(v1::DATA_TYPE_BFLOAT16, {})),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (), }");
}

TEST(ClientNpy, AlignsHeadersOfAnyLength) {
  for (size_t rank = 1; rank < 40; ++rank) {
    DictionaryOf(NpyHeader(v1::DATA_TYPE_FLOAT32, std::vector<int64_t>(rank, 7)));
  }
}

TEST(ClientNpy, WidensBfloat16AndLeavesOthers) {
  // 1.0 is 0x3F80, -2.0 is 0xC000.
  EXPECT_EQ(NpyData(v1::DATA_TYPE_BFLOAT16, std::string("\x80\x3f\x00\xc0", 4)),
            std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0", 8));
  EXPECT_EQ(NpyData(v1::DATA_TYPE_FLOAT16, "abcd"), "abcd");
  EXPECT_EQ(NpyData(v1::DATA_TYPE_FLOAT32, "abcd"), "abcd");
}

v1::TensorHeader Header(const std::string& name) {
  v1::TensorHeader header;
  header.set_kind(v1::TENSOR_KIND_CAPTURE);
  header.set_name(name);
  header.set_dtype(v1::DATA_TYPE_FLOAT32);
  header.add_shape(1);
  header.set_size_bytes(4);
  return header;
}

TEST(ClientTensorFiles, NamesFilesReadably) {
  v1::TensorHeader header = Header("resid_post[0]");
  header.set_layer(9);
  header.add_prompts(2);
  EXPECT_EQ(FileStem(header), "resid_post.0.layer9.prompt2");
  header.set_clean(true);
  header.set_moment(v1::MOMENT_BEFORE);
  EXPECT_EQ(FileStem(header), "resid_post.0.layer9.prompt2.before.clean");
  v1::TensorHeader block = Header("block_outputs[9][1]");
  block.set_kind(v1::TENSOR_KIND_BLOCK_ATTENTIONS);
  block.set_layer(9);
  for (const int prompt : {0, 3}) block.add_prompts(prompt);
  EXPECT_EQ(FileStem(block), "block_outputs.9.1.prompt0-3");
  for (const int prompt : {4, 5, 9}) block.add_prompts(prompt);
  EXPECT_EQ(FileStem(block), "block_outputs.9.1.prompts0-9");
}

TEST(ClientTensorFiles, KeepsHostileNamesInsideTheFolder) {
  EXPECT_EQ(FileStem(Header("../../etc/passwd")), "_._.._etc_passwd");
  EXPECT_EQ(FileStem(Header("")), "tensor");
  EXPECT_EQ(FileStem(Header(std::string("a\0/b", 4))), "a__b");
  EXPECT_EQ(FileStem(Header(std::string(1000, 'x'))).size(), 128u);
}

TEST(ClientTensorFiles, SavesWholeFilesUnderDifferentNames) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "scalpel_tensor_files_test";
  std::filesystem::remove_all(folder);
  TensorFiles files(folder);
  ASSERT_TRUE(files.Open().ok());
  const auto first = files.Save({Header("a b"), "1234"});
  v1::TensorHeader other = Header("a_b");
  other.set_tensor_id(7);
  const auto second = files.Save({other, "5678"});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, (folder / "a_b.npy").string());
  EXPECT_EQ(*second, (folder / "a_b.t7.npy").string());
  std::ifstream file(*second, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  EXPECT_EQ(content.str(), NpyHeader(v1::DATA_TYPE_FLOAT32, {1}) + "5678");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 2);
  std::filesystem::remove_all(folder);
  EXPECT_FALSE(files.Save({Header("c"), "1234"}).ok());
}

TEST(ClientTensorFiles, RefusesAFileAsFolder) {
  const std::string path = testing::TempDir() + "/scalpel_tensor_files_plain";
  std::ofstream(path) << "x";
  EXPECT_FALSE(TensorFiles(path).Open().ok());
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace scalpel::client
