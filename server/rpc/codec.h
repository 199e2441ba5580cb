// Messages to bytes and back. The bytes of a tensor go to the wire without being copied.

#ifndef SCALPEL_SERVER_RPC_CODEC_H_
#define SCALPEL_SERVER_RPC_CODEC_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>

#include "absl/status/status.h"
#include "server/contract/limits.h"
#include "server/engine/event_stream.h"

namespace scalpel::rpc {

// Parses one message that fills `buffer`. gRPC's own parser would answer an unreadable message with
// an empty UNIMPLEMENTED. INVALID_ARGUMENT: too many entries (by field), or unreadable (names the
// message's type).
absl::Status Parse(const grpc::ByteBuffer& buffer, const Limits& limits,
                   google::protobuf::Message* message);

grpc::ByteBuffer Serialize(const google::protobuf::Message& message);

// Cuts a tensor into RunResponse messages with a TensorChunk each, one at a time.
class TensorChunks {
 public:
  TensorChunks(engine::TensorEvent tensor, size_t chunk_bytes);

  bool done() const { return done_; }
  size_t bytes() const { return tensor_.bytes.size(); }
  // The next message, while not done. It keeps the tensor alive until it is written.
  grpc::ByteBuffer Next();

 private:
  engine::TensorEvent tensor_;
  size_t chunk_bytes_;
  size_t offset_ = 0;
  bool done_ = false;
};

}  // namespace scalpel::rpc

#endif  // SCALPEL_SERVER_RPC_CODEC_H_
