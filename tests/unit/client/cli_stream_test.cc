// What a stream of events may do, and how it ends early.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <ostream>
#include <sstream>
#include <streambuf>
#include <string>
#include <thread>

#include "client/cpp/cli.h"
#include "proto/scalpel/v1/service.grpc.pb.h"
#include "tests/unit/client/cli_fixture.h"

namespace scalpel::client {
namespace {

using testing::HasSubstr;

v1::RunResponse Chunk(const std::string& data, uint64_t offset) {
  v1::RunResponse event;
  v1::TensorChunk* chunk = event.mutable_tensor_chunk();
  chunk->set_offset(offset);
  chunk->set_data(data);
  if (offset > 0) return event;
  v1::TensorHeader* header = chunk->mutable_header();
  header->set_kind(v1::TENSOR_KIND_CAPTURE);
  header->set_name("z[0]");
  header->set_layer(3);
  header->add_prompts(0);
  header->set_dtype(v1::DATA_TYPE_FLOAT16);
  header->add_shape(4);
  header->set_size_bytes(8);
  return event;
}

TEST_F(ClientCli, SavesTensors) {
  Play({Started("", false), Chunk("abcd", 0), Chunk("efgh", 4), Finished()});
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "scalpel_cli_test";
  std::filesystem::remove_all(folder);
  const Outcome outcome = Program({"run", "x", "--save", folder.string()});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("  tensor 0  z[0] layer 3 prompt 0  float16 [4], 8 B\n"));
  EXPECT_EQ(std::filesystem::file_size(folder / "z.0.layer3.prompt0.npy"), 128 + 8u);
  std::filesystem::remove_all(folder);
}

TEST_F(ClientCli, RefusesBrokenStreams) {
  Play({Started("", false), Chunk("abcd", 0), Finished()});
  Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err, "scalpel-cli: tensor 0: the stream ended after 4 of 8 bytes\n");
  Play({Started("", false), Chunk("abcd", 0), Chunk("efgh", 5)});
  outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err, "scalpel-cli: tensor 0, chunk at byte 5: it should start at byte 4\n");
  Play({Started("", false)});
  outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err, "scalpel-cli: the stream ended without `finished`; run it again\n");
}

TEST_F(ClientCli, CancelsTheCallOnCtrlC) {
  bool cancelled = false;
  service_.run = [&](grpc::ServerContext& context, const v1::RunRequest&,
                     FakeService::Stream& stream) {
    stream.Write(Started("", false));
    std::raise(SIGINT);
    for (int i = 0; i < 2000 && !context.IsCancelled(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    cancelled = context.IsCancelled();
    return grpc::Status::CANCELLED;
  };
  const Outcome outcome = Program({"run", "x"});
  EXPECT_EQ(outcome.code, 130);
  EXPECT_EQ(outcome.err, "scalpel-cli: interrupted\n");
  server_->Shutdown();  // waits for the handler
  EXPECT_TRUE(cancelled);
}

TEST_F(ClientCli, CancelsTheCallWhenTheOutputIsClosed) {
  bool cancelled = false;
  service_.run = [&](grpc::ServerContext& context, const v1::RunRequest&,
                     FakeService::Stream& stream) {
    stream.Write(Started("", false));
    for (int i = 0; i < 2000 && !context.IsCancelled(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    cancelled = context.IsCancelled();
    return grpc::Status::CANCELLED;
  };
  struct Closed : std::streambuf {
  } closed;
  std::ostream out(&closed);
  std::istringstream in;
  std::ostringstream err;
  EXPECT_EQ(RunProgram({"run", "x"}, {in, Screen{out, 80}, err, address_}), 0);
  EXPECT_EQ(err.str(), "");
  server_->Shutdown();  // waits for the handler
  EXPECT_TRUE(cancelled);
}

}  // namespace
}  // namespace scalpel::client
