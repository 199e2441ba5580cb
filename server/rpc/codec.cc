#include "server/rpc/codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/entries.h"

namespace scalpel::rpc {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

constexpr int kNestingMax = 100;  // levels of nested messages and groups, including unknown ones
constexpr int kWriterBlockBytes = 4096;

// Returns a slice that refers to `bytes` and shares ownership of `owner`, which holds them.
grpc::Slice Share(std::string_view bytes, const std::shared_ptr<const void>& owner) {
  if (bytes.empty()) return grpc::Slice();
  auto* share = new std::shared_ptr<const void>(owner);
  // gRPC takes a pointer to non-const, but does not write to it.
  return grpc::Slice(
      const_cast<char*>(bytes.data()), bytes.size(),
      [](void* held) { delete static_cast<std::shared_ptr<const void>*>(held); }, share);
}

// What stands in front of a field of so many bytes.
std::string Prefix(int field, size_t bytes) {
  std::string prefix;
  {
    google::protobuf::io::StringOutputStream stream(&prefix);
    CodedOutputStream output(&stream);
    output.WriteTag(WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
    output.WriteVarint64(bytes);
  }
  return prefix;
}

}  // namespace

absl::Status Parse(const grpc::ByteBuffer& buffer, const Limits& limits,
                   google::protobuf::Message* message) {
  grpc::ByteBuffer readable(buffer);  // shares the bytes; the reader needs a non-const buffer
  if (grpc::ProtoBufferReader reader(&readable); reader.status().ok()) {
    absl::Status status = CheckEntries(&reader, *message->GetDescriptor(), limits);
    if (!status.ok()) return status;
  }
  grpc::ProtoBufferReader reader(&readable);
  bool parsed = reader.status().ok();
  if (parsed) {
    CodedInputStream input(&reader);
    input.SetRecursionLimit(kNestingMax);
    parsed = message->ParseFromCodedStream(&input) && input.ConsumedEntireMessage();
  }
  if (parsed) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the message is not a readable ", message->GetTypeName(),
                   ": it is cut off, nested deeper than ", kNestingMax,
                   " levels, has text that is not UTF-8, or is not protobuf"));
}

grpc::ByteBuffer Serialize(const google::protobuf::Message& message) {
  grpc::ByteBuffer buffer;
  const int bytes = static_cast<int>(message.ByteSizeLong());
  {
    grpc::ProtoBufferWriter writer(&buffer, kWriterBlockBytes, bytes);
    (void)message.SerializeToZeroCopyStream(&writer);  // to memory, which does not fail
  }
  return buffer;
}

TensorChunks::TensorChunks(engine::TensorEvent tensor, std::optional<engine::StepOf> step,
                           size_t chunk_bytes)
    : tensor_(std::move(tensor)), step_(step), chunk_bytes_(chunk_bytes) {}

grpc::ByteBuffer TensorChunks::Next() {
  const std::string_view data = tensor_.bytes.substr(offset_, chunk_bytes_);
  v1::TensorChunk chunk;
  if (offset_ == 0) *chunk.mutable_header() = tensor_.header;
  chunk.set_tensor_id(tensor_.header.tensor_id());
  chunk.set_offset(offset_);
  offset_ += data.size();
  done_ = offset_ >= tensor_.bytes.size();

  // Encodes by hand, from the inside, what is in front of the data. They come last because `data`
  // has the highest field number of TensorChunk, and the chunk that of RunResponse or, behind the
  // stream and step, of StepEvent.
  std::string head =
      chunk.SerializeAsString() + Prefix(v1::TensorChunk::kDataFieldNumber, data.size());
  if (step_) {
    v1::StepEvent event;
    event.set_stream(step_->stream);
    event.set_step(step_->step);
    head = event.SerializeAsString() +
           Prefix(v1::StepEvent::kTensorChunkFieldNumber, head.size() + data.size()) + head;
    head = Prefix(v1::GenerateResponse::kStepFieldNumber, head.size() + data.size()) + head;
  } else {
    head = Prefix(v1::RunResponse::kTensorChunkFieldNumber, head.size() + data.size()) + head;
  }
  const grpc::Slice slices[] = {grpc::Slice(head), Share(data, tensor_.owner)};
  return grpc::ByteBuffer(slices, 2);
}

}  // namespace scalpel::rpc
