// Converts messages to bytes and back. The data of tensors is not copied on the way.

#ifndef SCALPEL_SERVER_RPC_CODEC_H_
#define SCALPEL_SERVER_RPC_CODEC_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <optional>

#include "absl/status/status.h"
#include "server/contract/limits.h"
#include "server/engine/event_stream.h"

namespace scalpel::rpc {

// Parses `buffer`, which must hold exactly one message. INVALID_ARGUMENT: a field has too many
// entries (see CheckEntries; the error names the field), or the bytes cannot be parsed (the error
// names the message's type). gRPC's own parser would answer the latter with an UNIMPLEMENTED that
// has no text.
absl::Status Parse(const grpc::ByteBuffer& buffer, const Limits& limits,
                   google::protobuf::Message* message);

grpc::ByteBuffer Serialize(const google::protobuf::Message& message);

// Splits a tensor into serialized RunResponse messages, or GenerateResponse messages of a step,
// with one TensorChunk each. Not thread-safe.
class TensorChunks {
 public:
  // `step`: of a generation; nullopt: the tensor is of a run. `chunk_bytes`: the most tensor data
  // in one message.
  TensorChunks(engine::TensorEvent tensor, std::optional<engine::StepOf> step, size_t chunk_bytes);

  // Returns whether all messages have been taken.
  bool done() const { return done_; }
  // Returns the size of the tensor's data.
  size_t bytes() const { return tensor_.bytes.size(); }
  // Returns the next message; done() must be false. The buffer refers to the tensor's data and
  // keeps it alive.
  grpc::ByteBuffer Next();

 private:
  engine::TensorEvent tensor_;
  std::optional<engine::StepOf> step_;
  size_t chunk_bytes_;
  size_t offset_ = 0;
  bool done_ = false;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_CODEC_H_
