#include "client/cpp/tensors.h"

#include <gtest/gtest.h>

namespace scalpel::client {
namespace {

// The first chunk of a float32 tensor [3] with id 0.
v1::TensorChunk First(const std::string& data) {
  v1::TensorChunk chunk;
  v1::TensorHeader* header = chunk.mutable_header();
  header->set_name("x");
  header->set_dtype(v1::DATA_TYPE_FLOAT32);
  header->add_shape(3);
  header->set_size_bytes(12);
  chunk.set_data(data);
  return chunk;
}

v1::TensorChunk Next(uint32_t id, uint64_t offset, const std::string& data) {
  v1::TensorChunk chunk;
  chunk.set_tensor_id(id);
  chunk.set_offset(offset);
  chunk.set_data(data);
  return chunk;
}

// The error of one chunk after `First("abcd")` was taken.
std::string SecondError(const v1::TensorChunk& chunk) {
  TensorAssembler assembler;
  EXPECT_TRUE(assembler.Add(First("abcd")).ok());
  return std::string(assembler.Add(chunk).status().message());
}

std::string FirstError(const v1::TensorChunk& chunk) {
  return std::string(TensorAssembler().Add(chunk).status().message());
}

TEST(ClientTensors, PutsChunksTogether) {
  TensorAssembler assembler;
  auto part = assembler.Add(First("abcd"));
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_FALSE(part->has_value());
  part = assembler.Add(Next(0, 4, "efg"));
  ASSERT_TRUE(part.ok() && !part->has_value());
  EXPECT_EQ(assembler.Finish().message(), "tensor 0: the stream ended after 7 of 12 bytes");
  part = assembler.Add(Next(0, 7, "hijkl"));
  ASSERT_TRUE(part.ok()) << part.status();
  ASSERT_TRUE(part->has_value());
  EXPECT_EQ((*part)->data, "abcdefghijkl");
  EXPECT_EQ((*part)->header.name(), "x");
  EXPECT_TRUE(assembler.Finish().ok());
}

TEST(ClientTensors, TakesTensorsOneAfterAnother) {
  TensorAssembler assembler;
  ASSERT_TRUE(assembler.Add(First("abcdefghijkl"))->has_value());
  v1::TensorChunk second = First("abcdefghijkl");
  second.set_tensor_id(1);
  second.mutable_header()->set_tensor_id(1);
  EXPECT_TRUE(assembler.Add(second)->has_value());
  EXPECT_EQ(assembler.Add(second).status().message(),
            "tensor 1, chunk at byte 0: this tensor was sent before");
}

TEST(ClientTensors, RefusesGapsOverlapsAndInterleaving) {
  EXPECT_EQ(SecondError(Next(0, 5, "x")), "tensor 0, chunk at byte 5: it should start at byte 4");
  EXPECT_EQ(SecondError(Next(0, 0, "x")), "tensor 0, chunk at byte 0: it should start at byte 4");
  EXPECT_EQ(SecondError(Next(1, 4, "x")),
            "tensor 1, chunk at byte 4: tensor 0 is not complete yet");
  EXPECT_EQ(SecondError(Next(0, 4, "123456789")),
            "tensor 0, chunk at byte 4: more data than the tensor's 12 bytes");
  EXPECT_EQ(SecondError(Next(0, 4, "")), "tensor 0, chunk at byte 4: no data");
  EXPECT_EQ(SecondError(First("x")), "tensor 0, chunk at byte 0: a second header");
}

TEST(ClientTensors, RefusesFirstChunksThatContradictThemselves) {
  EXPECT_EQ(FirstError(Next(0, 0, "x")),
            "tensor 0, chunk at byte 0: no header has said what it is");
  v1::TensorChunk chunk = First("abcd");
  chunk.set_tensor_id(3);
  EXPECT_EQ(FirstError(chunk), "tensor 3, chunk at byte 0: the header is of another tensor");
  chunk = First("abcd");
  chunk.set_offset(4);
  EXPECT_EQ(FirstError(chunk),
            "tensor 0, chunk at byte 4: a header comes with the first chunk, at byte 0");
  chunk = First("abcd");
  chunk.mutable_header()->set_size_bytes(16);
  EXPECT_EQ(FirstError(chunk),
            "tensor 0, chunk at byte 0: float32 [3] has 12 bytes, the header says 16");
}

TEST(ClientTensors, RefusesImpossibleAndHugeShapes) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{0},
                                            {-3},
                                            {int64_t{1} << 40, int64_t{1} << 40},
                                            {INT64_MAX},
                                            {int64_t{1} << 31, 2}}) {
    v1::TensorChunk chunk = First("abcd");
    chunk.mutable_header()->mutable_shape()->Assign(shape.begin(), shape.end());
    EXPECT_NE(FirstError(chunk).find("type or shape is impossible, or above"), std::string::npos)
        << shape[0];
  }
  v1::TensorChunk chunk = First("abcd");
  chunk.mutable_header()->set_dtype(static_cast<v1::DataType>(99));
  EXPECT_NE(FirstError(chunk).find("type or shape is impossible"), std::string::npos);
  EXPECT_FALSE(TensorAssembler(11).Add(First("abcd")).ok());
  EXPECT_TRUE(TensorAssembler(12).Add(First("abcd")).ok());
}

}  // namespace
}  // namespace scalpel::client
