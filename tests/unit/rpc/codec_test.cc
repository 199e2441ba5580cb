#include "server/rpc/codec.h"

#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "proto/scalpel/v1/run.pb.h"
#include "proto/scalpel/v1/service.pb.h"
#include "proto/scalpel/v1/tensor.pb.h"

namespace scalpel::rpc {
namespace {

grpc::ByteBuffer Buffer(const std::string& bytes, size_t slice_bytes = 1 << 20) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += slice_bytes) {
    slices.emplace_back(bytes.substr(at, slice_bytes));
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

TEST(Codec, RoundTripOverAnySlices) {
  v1::TokenizeRequest request;
  request.set_model("model");
  request.set_text(std::string(10'000, 't'));
  const std::string bytes = Bytes(Serialize(request));
  EXPECT_EQ(bytes, request.SerializeAsString());
  for (const size_t slice_bytes : {1, 7, 100'000}) {
    v1::TokenizeRequest parsed;
    ASSERT_TRUE(Parse(Buffer(bytes, slice_bytes), Limits(), &parsed).ok());
    EXPECT_EQ(parsed.SerializeAsString(), bytes);
  }
}

TEST(Codec, AnEmptyMessageIsAMessage) {
  v1::RunRequest request;
  EXPECT_TRUE(Parse(Buffer(""), Limits(), &request).ok());
  EXPECT_TRUE(Parse(grpc::ByteBuffer(Serialize(request)), Limits(), &request).ok());
}

TEST(Codec, UnreadableMessagesAreNamed) {
  const std::string groups = std::string(200, '\x0b') + std::string(200, '\x0c');  // field 1
  for (const std::string& bytes : {std::string("\xff\xff\xff"),
                                   std::string("\x0a\x05"
                                               "ab"),
                                   std::string("\x0a\x02\xff\xfe"), std::string("\x0c"), groups}) {
    v1::TokenizeRequest request;
    const absl::Status status = Parse(Buffer(bytes), Limits(), &request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("scalpel.v1.TokenizeRequest"), absl::string_view::npos)
        << status;
  }
}

struct Case {
  size_t tensor_bytes, chunk_bytes, chunks;
};

class TensorChunksOf : public testing::TestWithParam<Case> {};

TEST_P(TensorChunksOf, AreTheTensorInOrder) {
  const auto [tensor_bytes, chunk_bytes, count] = GetParam();
  auto owner = std::make_shared<std::string>(tensor_bytes, '\0');
  for (size_t i = 0; i < tensor_bytes; ++i) (*owner)[i] = static_cast<char>(i * 31 % 251);
  engine::TensorEvent tensor{.header = {}, .bytes = *owner, .owner = owner};
  tensor.header.set_tensor_id(300);
  tensor.header.set_name("capture");

  TensorChunks chunks(std::move(tensor), std::nullopt, chunk_bytes);
  std::string received;
  size_t messages = 0;
  while (!chunks.done()) {
    v1::RunResponse response;
    ASSERT_TRUE(Parse(chunks.Next(), Limits(), &response).ok());
    const v1::TensorChunk& chunk = response.tensor_chunk();
    EXPECT_EQ(chunk.has_header(), messages == 0);
    EXPECT_EQ(chunk.tensor_id(), 300u);
    EXPECT_EQ(chunk.offset(), received.size());
    EXPECT_LE(chunk.data().size(), chunk_bytes);
    received += chunk.data();
    ++messages;
  }
  EXPECT_EQ(messages, count);
  EXPECT_EQ(received, *owner);
}

INSTANTIATE_TEST_SUITE_P(Sizes, TensorChunksOf,
                         testing::Values(Case{1, 8, 1}, Case{8, 8, 1}, Case{9, 8, 2},
                                         Case{24, 8, 3}, Case{(1 << 20) + 4, 1 << 20, 2}));

TEST(TensorChunks, OfAStepSayWhichItIs) {
  for (const engine::StepOf step : {engine::StepOf{0, 0}, engine::StepOf{3, 300}}) {
    auto owner = std::make_shared<std::string>(20, 'x');
    TensorChunks chunks({.header = {}, .bytes = *owner, .owner = owner}, step, 8);
    std::string received;
    while (!chunks.done()) {
      v1::GenerateResponse response;
      ASSERT_TRUE(Parse(chunks.Next(), Limits(), &response).ok());
      EXPECT_EQ(response.step().stream(), step.stream);
      EXPECT_EQ(response.step().step(), step.step);
      received += response.step().tensor_chunk().data();
    }
    EXPECT_EQ(received, *owner);
  }
}

TEST(TensorChunks, AreTheTensorsOwnBytesAndKeepThemAlive) {
  auto owner = std::make_shared<std::string>(100'000, 'x');
  const char* const data = owner->data();
  const std::weak_ptr<std::string> alive = owner;
  grpc::ByteBuffer message;
  {
    TensorChunks chunks({.header = {}, .bytes = *owner, .owner = owner}, std::nullopt, 1 << 20);
    owner.reset();
    message = chunks.Next();
  }
  ASSERT_FALSE(alive.expired());
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(message.Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(reinterpret_cast<const char*>(slices[1].begin()), data);
  slices.clear();
  message.Clear();
  EXPECT_TRUE(alive.expired());
}

}  // namespace
}  // namespace scalpel::rpc
